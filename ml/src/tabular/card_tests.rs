use super::*;
use crate::tabular::batch_data::table;
use crate::tabular::dataset::Schema;
use crate::tabular::model::Params;
use models::ts::Ts;

fn learnt(kind: Kind) -> Artefact {
    let (schema, data) = Schema::learn(table(200, 1).as_bytes()).unwrap();
    let mut params = Params::of(kind, 7);
    (params.bags, params.booster.rounds_max, params.forest.trees) = (1, 10, 3);
    let window = Window { from: Ts::parse_day("2026-01-01").unwrap(), to: Ts::parse_day("2026-02-01").unwrap() };
    Artefact::train(kind, schema, &data, params, Some(window)).unwrap()
}

/// The text of a section.
fn section<'a>(card: &'a str, title: &str) -> &'a str {
    let (_, rest) = card.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no {title} in\n{card}"));
    rest.split("\n## ").next().unwrap_or_default()
}

#[test]
fn each_section_says_what_its_kind_is_and_no_other() {
    let cards = [Kind::TransactionRisk, Kind::PlayerRisk].map(|kind| learnt(kind).card("abc"));
    // (section, what is said of transactions, what of players)
    let table = [
        ("Intended use", "rules: `risky_transaction`.", "rules: `player_at_risk`, `player_at_risk_across_operators`."),
        ("Intended use", "each record that moves money", "the level of risk (`risk_level`)"),
        ("Out of scope", "Stopping a payment", "A diagnosis"),
        ("Out of scope", "Signs of harm to a player", "Laundering and fraud"),
        (
            "Evaluation data",
            "Each row of the training table, by models",
            "Each row of the training table, 3 times, by models",
        ),
        (
            "Intended use",
            "from what was known then of the player",
            "Tells the operator of a player whose risk has become high",
        ),
        ("Ethical considerations", "does nothing to the record", "the operator is told of it and asked to act before"),
        ("Training data", "alerts that are suspicions about money", "alerts that are signs of harm"),
    ];
    for (title, of_transactions, of_players) in table {
        for (at, (says, says_not)) in
            [(of_transactions, of_players), (of_players, of_transactions)].into_iter().enumerate()
        {
            let text = section(&cards[at], title);
            assert!(text.contains(says) && !text.contains(says_not), "{title}: {says} in\n{text}");
        }
    }
}

#[test]
fn what_each_card_says_is_of_its_artefact() {
    let artefact = learnt(Kind::PlayerRisk);
    let card = artefact.card("abc");
    let m = &artefact.metrics;
    assert_eq!(m.rows, 200, "a row that is held out three times is one row");
    let (share, error) = (m.positives as f64 / 200.0, auc_error(m.auc, m.positives, 200 - m.positives));
    let said = [
        ("Factors", "age, sex or place of persons".to_owned()),
        ("Factors", "not learnt again without an operator or a month".to_owned()),
        ("Metrics on rows held out while it was learnt", format!("were rows independent | {error:.4} |")),
        ("Metrics on rows held out while it was learnt", format!("(average precision of chance) | {share:.4} |")),
        ("Metrics on rows held out while it was learnt", "`mlinzi model backtest`".to_owned()),
        ("Training data", "200 rows of 5 columns; label `label`, positive where it is `1`".to_owned()),
        ("Training data", "What no rule told of".to_owned()),
        ("Ethical considerations", format!("of up to {KEPT} rows")),
        ("Caveats and recommendations", "an index of 0.25, or a Spiegelhalter's z of 3".to_owned()),
    ];
    for (title, part) in said {
        assert!(section(&card, title).contains(&part), "{part} is not in {title} of\n{card}");
    }
    assert!(card.contains(&format!(
        "| rows held out | 200: {} positive, {} negative |",
        m.positives,
        200 - m.positives
    )));
    let (_, data) = Schema::learn(table(200, 1).as_bytes()).unwrap();
    let validated = artefact.validated(&data).card("abc");
    assert!(section(&validated, "Factors").contains("told apart under Validation"));
    assert!(section(&validated, "Validation").contains("the table has no column @day"));
}
