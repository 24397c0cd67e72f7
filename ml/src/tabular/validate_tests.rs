use super::*;
use crate::tabular::artefact::{Artefact, Kind};
use crate::tabular::batch_data::table;
use crate::tabular::dataset::Schema;

fn small() -> Params {
    let mut params = cheap(&Params::of(Kind::PlayerRisk, 7));
    params.booster.rounds_max = 30;
    params.forest.trees = 10;
    params
}

fn data(text: &str) -> Labelled {
    Schema::learn(text.as_bytes()).unwrap().1
}

/// 80 persons of eight rows, who look the same in each and whose label nothing tells.
fn persons_of_many_rows(with_groups: bool) -> Labelled {
    let mut chance = Chance::new(5, 300);
    let mut text = format!("id,{}a,b,c,d,e,f,label\n", if with_groups { "@group," } else { "" });
    for person in 0..80 {
        let looks: Vec<String> = (0..6).map(|_| chance.below(1_000_000).to_string()).collect();
        let group = if with_groups { format!("g{person},") } else { String::new() };
        for _ in 0..8 {
            let _ = writeln!(text, "p{person},{group}{},{}", looks.join(","), person % 2);
        }
    }
    data(&text)
}

#[test]
fn folds_that_part_a_person_flatter_and_the_canary_says_so() {
    let auc = |data: &Labelled| Model::fit(data, &small()).unwrap().metrics.auc;
    let canary = |data: &Labelled| match canary(data, &small()) {
        Outcome::Found(canary) => canary,
        Outcome::Not(why) => panic!("{why}"),
    };
    let (parted, together) = (persons_of_many_rows(false), persons_of_many_rows(true));
    let (flattered, honest) = (auc(&parted), auc(&together));
    assert!(flattered > 0.85, "{flattered}");
    assert!((0.25..0.75).contains(&honest), "{honest}");
    let (loud, quiet) = (canary(&parted), canary(&together));
    assert!(loud.auc > loud.high && !loud.is_quiet(), "{loud:?}");
    assert!(quiet.is_quiet(), "{quiet:?}");
    assert_eq!((quiet.positives, quiet.negatives), (40, 40));
    let told = Validation::of(&parted, &small());
    assert!(told.held_out_by == HeldOutBy::Row && told.warning().is_some());
    let told = Validation::of(&together, &small());
    assert_eq!((told.held_out_by, told.warning()), (HeldOutBy::Group(80), None));
}

#[test]
fn the_canary_is_quiet_where_each_row_is_somebodys() {
    let told = Validation::of(&data(&table(400, 1)), &small());
    assert!(matches!(&told.canary, Outcome::Found(canary) if canary.is_quiet()), "{told:?}");
    assert_eq!(told.operators, Outcome::Not("the table has no column @operator".to_owned()));
    assert_eq!(told.later_month, Outcome::Not("the table has no column @day".to_owned()));
    // (AUC, persons of each label, is it chance): 4 standard errors of 100 and 100 are .164
    for (auc, each, wanted) in [(0.5, 100, true), (0.66, 100, true), (0.67, 100, false), (0.33, 100, false)] {
        assert_eq!(Canary::new(auc, each, each).is_quiet(), wanted, "{auc}");
    }
}

/// At `one` the feature says the label, at `two` and `three` nothing does; in April nothing does anywhere.
fn operators_and_months() -> Labelled {
    let mut chance = Chance::new(6, 301);
    let mut text = "id,@operator,@day,a,b,label\n".to_owned();
    for row in 0..900 {
        let [a, b] = [(); 2].map(|()| chance.below(1_000));
        let month = if row < 600 { 3 } else { 4 };
        let operator = ["one", "two", "three"][row % 3];
        let says = month == 3 && operator == "one";
        let label = if says { usize::from(a >= 500) } else { chance.below(2) };
        let _ = writeln!(text, "r{row},{operator},2026-0{month}-{:02},{a},{b},{label}", 1 + row % 28);
    }
    data(&text)
}

#[test]
fn what_holds_at_one_operator_and_in_one_month_alone_is_seen() {
    let all = operators_and_months();
    let march = all.select(&(0..600).collect::<Vec<_>>());
    let told = Validation::of(&march, &small());
    let Outcome::Found(operators) = &told.operators else { panic!("{told:?}") };
    let of = |code: &str| operators.iter().find(|one| one.what == code).unwrap();
    // its own relation was not there to learn, and that of the others is none
    for code in ["two", "three"] {
        assert!((0.3..0.7).contains(&of(code).auc) && of(code).rows == 200, "{told:?}");
    }
    let (mean, _) = told.operators_mean().unwrap();
    assert!((mean - operators.iter().map(|one| one.auc).sum::<f64>() / 3.0).abs() < 1e-12);
    assert_eq!(told.later_month, Outcome::Not("the rows are of one month".to_owned()));
    assert_eq!((operators.len(), told.operators_not), (3, 0));
    let mut card = String::new();
    told.write(small().order, &mut card).unwrap();
    assert!(card.contains("| operator 1 | | | 0.") && card.contains("| operator 3 | | | 0."), "{card}");
    assert!(
        !["one |", "two |", "three |", " 200 "].iter().any(|own| card.contains(own)),
        "no operator is known by it: {card}"
    );

    let Outcome::Found(later) = later_month(&all, &small()) else { panic!("two months") };
    assert!((later.what.as_str(), later.rows) == ("2026-04", 300) && (0.35..0.65).contains(&later.auc), "{later:?}");
}

/// Persons with a row in February, March and April, but for each fourth, who stops playing before April. What `a` says of
/// the label of those who stop is the contrary of what it says of the others.
fn who_stops_is_another() -> Labelled {
    let mut chance = Chance::new(8, 302);
    let mut text = "id,@group,@day,a,b,label\n".to_owned();
    for month in 2..=4 {
        for person in (0..240).filter(|person| month < 4 || person % 4 != 0) {
            let [a, b] = [(); 2].map(|()| chance.below(1_000));
            let label = u8::from((a >= 500) == (person % 4 == 0));
            let _ = writeln!(text, "r{month}-{person},p{person},2026-0{month}-15,{a},{b},{label}");
        }
    }
    data(&text)
}

#[test]
fn the_newest_month_is_not_judged_by_what_those_taught_who_had_stopped() {
    let all = who_stops_is_another();
    let groups = all.sides.groups.clone().unwrap();
    // without whoever is in April, those who stopped are all that is left to learn from: everything is upside down
    let is_newest: Vec<bool> = all.sides.months.iter().flatten().map(|month| month == "2026-04").collect();
    let biased = left_out(&all, &small(), "2026-04", &is_newest).unwrap();
    assert!(biased.auc < 0.2, "{biased:?}");
    let Outcome::Found(later) = later_month(&all, &small()) else { panic!("three months") };
    assert!((later.what.as_str(), later.rows) == ("2026-04", 180), "everybody of April judges: {later:?}");
    assert!(later.auc > 0.75 && later.average_precision > 0.7, "{later:?}");
    assert_eq!(Outcome::Found(later), later_month(&all, &small()), "the seed decides");
    // each part has those who stopped as it has the others, and whole persons
    let of = parts(&groups, 7);
    let mut known: BTreeMap<usize, usize> = BTreeMap::new();
    assert!(groups.iter().zip(&of).all(|(group, part)| *known.entry(*group).or_insert(*part) == *part));
    for part in 0..PERSON_FOLDS {
        let persons: Vec<usize> = known.iter().filter(|(_, of)| **of == part).map(|(group, _)| *group).collect();
        let stopped = persons.iter().filter(|group| *group % 4 == 0).count();
        assert!(persons.len() == 80 && (8..=32).contains(&stopped), "{stopped} of {}", persons.len());
    }
    assert_ne!(of, parts(&groups, 8));
}

#[test]
fn nobody_who_judges_the_newest_month_was_learnt_from() {
    // who looks the same in each row, and whose label nothing tells: known again they would be told at once
    let mut table = persons_of_many_rows(true);
    table.sides.months =
        Some((0..table.labels.len()).map(|row| format!("2026-0{}", if row % 8 < 6 { 3 } else { 4 })).collect());
    let Outcome::Found(honest) = later_month(&table, &small()) else { panic!("two months") };
    assert!(honest.rows == 160 && (0.25..0.75).contains(&honest.auc), "{honest:?}");
    table.sides.groups = None;
    let Outcome::Found(flattered) = later_month(&table, &small()) else { panic!("two months") };
    assert!(flattered.rows == 160 && flattered.auc > 0.75, "{flattered:?}");
    // a row without a day is of neither side: with March unsaid there is but April
    table.sides.months.iter_mut().flatten().filter(|month| month.as_str() == "2026-03").for_each(String::clear);
    assert_eq!(later_month(&table, &small()), Outcome::Not("the rows are of one month".to_owned()));
}

#[test]
fn figures_of_parts_count_by_their_pairs() {
    let part = |rows, positives, auc, average_precision| LeftOut {
        what: String::new(),
        rows,
        positives,
        auc,
        average_precision,
        parts_not: Vec::new(),
    };
    let got = together("2026-04", &[part(10, 5, 0.8, 0.6), part(11, 1, 0.1, 0.3)]);
    // 25 pairs and 10, five positives and one
    assert_eq!((got.what.as_str(), got.rows, got.positives), ("2026-04", 21, 6));
    assert!((got.auc - (25.0 * 0.8 + 10.0 * 0.1) / 35.0).abs() < 1e-12, "{got:?}");
    assert!((got.average_precision - (5.0 * 0.6 + 0.3) / 6.0).abs() < 1e-12, "{got:?}");
}

#[test]
fn a_part_that_is_not_judged_is_named() {
    let mut table = who_stops_is_another();
    let groups = table.sides.groups.clone().unwrap();
    let of = parts(&groups, small().seed);
    // in April nobody of the first part is a case
    let is_newest: Vec<bool> = table.sides.months.iter().flatten().map(|month| month == "2026-04").collect();
    for row in 0..groups.len() {
        table.labels[row] &= !(is_newest[row] && of[row] == 0);
    }
    let Outcome::Found(later) = later_month(&table, &small()) else { panic!("three months") };
    let judges = (0..groups.len()).filter(|row| is_newest[*row] && of[*row] != 0).count();
    assert_eq!((later.rows, later.parts_not.len()), (judges, 1), "{later:?}");
    let mut told = Validation::of(&who_stops_is_another(), &small());
    let card = |told: &Validation| {
        let mut card = String::new();
        told.write(small().order, &mut card).unwrap();
        card
    };
    assert!(!card(&told).contains("were not judged"));
    told.later_month = Outcome::Found(later);
    assert!(card(&told).contains("1 of these parts were not judged, and are not in the figures: 2026-04 has rows of"));
}

#[test]
fn the_card_says_what_speaks_of_time() {
    let mut told = Validation::of(&who_stops_is_another(), &small());
    let text = |told: &Validation, order| {
        let mut card = String::new();
        told.write(order, &mut card).unwrap();
        card
    };
    let (by_person, by_lot) = ("held out by person: 240 groups.", "drawn by lot");
    let not_by_time = "Of later rows the later month alone speaks.";
    let either = "a person may have rows in both";
    let blocks = "in blocks of time";
    let elsewhere = "nobody who plays at one was learnt from elsewhere";
    told.operators = Outcome::Found(Vec::new());
    // (how they were held out, in what order, what it says, what not)
    let table = [
        (
            HeldOutBy::Group(240),
            Order::InTime,
            [by_person, by_lot, not_by_time, elsewhere],
            [blocks, either, "one by one"],
        ),
        (
            HeldOutBy::Group(240),
            Order::Shuffled(1),
            [by_person, by_lot, "| 2026-04 |", elsewhere],
            [blocks, either, not_by_time],
        ),
        (
            HeldOutBy::Time,
            Order::InTime,
            [blocks, either, "| 2026-04 |", "no column says whose"],
            [by_lot, not_by_time, elsewhere],
        ),
    ];
    for (held_out_by, order, says, says_not) in table {
        told.held_out_by = held_out_by;
        let card = text(&told, order);
        assert!(says.iter().all(|part| card.contains(part)), "{held_out_by:?}, {order:?}: {card}");
        assert!(!says_not.iter().any(|part| card.contains(part)), "{held_out_by:?}, {order:?}: {card}");
    }
}

#[test]
fn a_model_that_is_learnt_for_the_shelf_has_it_on_its_card_and_keeps_it() {
    let rows: String = table(200, 1).replace("player,", "player,@day,").lines().enumerate().fold(
        String::new(),
        |mut text, (at, line)| {
            let line = if at == 0 { line.to_owned() } else { line.replacen(',', ",2026-03-05,", 1) };
            let _ = writeln!(text, "{line}");
            text
        },
    );
    let (schema, data) = Schema::learn(rows.as_bytes()).unwrap();
    let (plain, without) = Schema::learn(table(200, 1).as_bytes()).unwrap();
    assert_eq!((&schema, data.table.values.dim()), (&plain, without.table.values.dim()), "a side is no feature");
    let learnt = |data: &Labelled| Artefact::train(Kind::PlayerRisk, schema.clone(), data, small(), None).unwrap();
    let bare = learnt(&without);
    assert!(bare.model == learnt(&data).model, "a day changes nothing of the model");
    assert!(!bare.card("x").contains("## Validation"));
    let validated = bare.validated(&data);
    let mut bytes = Vec::new();
    let sha256 = validated.write(&mut bytes).unwrap();
    let (read, _) = Artefact::read(bytes.as_slice()).unwrap();
    let card = read.card(&sha256);
    for part in ["## Validation", "- Noise canary: AUC ", "Later month: not measured, the rows are of one month."] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
}

#[test]
fn what_is_drawn_to_learn_keeps_the_rare_ones() {
    // (rows, positives among them, positives kept, rows kept)
    for (rows, ones, kept_ones, kept) in
        [(100, 10, 10, 100), (2 * ROWS_MAX, 50, 50, ROWS_MAX), (4 * ROWS_MAX, 2 * ROWS_MAX, ROWS_MAX / 2, ROWS_MAX)]
    {
        let labels: Vec<bool> = (0..rows).map(|row| row < ones).collect();
        let got = to_learn(&(0..rows).collect::<Vec<_>>(), &labels, 1);
        let positives = got.iter().filter(|row| labels[**row]).count();
        assert_eq!((positives, got.len()), (kept_ones, kept));
        assert!(got.is_sorted());
    }
}
