use super::*;
use crate::tabular::batch_data::table;
use proptest::prelude::*;
use std::sync::OnceLock;

fn artefact() -> &'static Artefact {
    static ONCE: OnceLock<Artefact> = OnceLock::new();
    ONCE.get_or_init(|| {
        let (schema, data) = Schema::learn(table(200, 1).as_bytes()).unwrap();
        let mut params = Params::of(Kind::PlayerRisk, 7);
        (params.bags, params.booster.rounds_max, params.forest.trees) = (1, 10, 3);
        let window = Window { from: Ts::parse_day("2026-01-01").unwrap(), to: Ts::parse_day("2026-02-01").unwrap() };
        Artefact::train(Kind::PlayerRisk, schema, &data, params, Some(window)).unwrap()
    })
}

fn document() -> Vec<u8> {
    let mut bytes = Vec::new();
    artefact().write(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_read_is_what_was_written_bit_for_bit() {
    let mut bytes = Vec::new();
    let sha256 = artefact().write(&mut bytes).unwrap();
    let (read, digest) = Artefact::read(bytes.as_slice()).unwrap();
    assert_eq!(digest, sha256);
    assert_eq!(read.model, artefact().model);
    assert_eq!((&read.schema, &read.params, &read.baseline, &read.seen), {
        let Artefact { schema, params, baseline, seen, .. } = artefact();
        (schema, params, baseline, seen)
    });
    let data = read.schema.read(table(50, 2).as_bytes()).unwrap();
    assert_eq!(read.model.scores(data.values.view()), artefact().model.scores(data.values.view()));
}

#[test]
fn the_card_says_what_a_reader_asks() {
    let card = artefact().card("abc");
    for part in [
        "# Model card: player_risk\n",
        "| artefact (SHA-256) | `abc` |",
        &artefact().data_sha256,
        "2026-01-01T00:00:00.000Z to 2026-02-01T00:00:00.000Z",
        "probability that `label` is `1`",
        "| expected calibration error | ",
        "| booster | ",
        "| signal | ",
    ] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
}

#[test]
fn what_is_damaged_is_refused_by_name() {
    let text = String::from_utf8(document()).unwrap();
    let resealed = |from: &str, to: &str| {
        let inner = serde_json::to_string(artefact()).unwrap();
        assert!(inner.contains(from), "{from}");
        let inner = inner.replacen(from, to, 1);
        let sha256 = hexadecimal(digest(&SHA256, inner.as_bytes()).as_ref());
        format!("{{\"sha256\":\"{sha256}\",\"artefact\":{inner}}}")
    };
    let table = [
        ("not JSON", "hello".to_owned(), "not an artefact"),
        ("cut short", text[..text.len() / 2].to_owned(), "not an artefact"),
        ("one digit changed", text.replacen("\"seed\":7", "\"seed\":8", 1), "digest is not that"),
        ("another format", resealed("\"format\":3", "\"format\":1"), "an artefact of format 1"),
        ("a feature too many", resealed("\"features\":6", "\"features\":7"), "do not fit"),
        ("a child beyond the tree", resealed("\"left\":[1,", "\"left\":[999,"), "do not fit"),
        ("a weight too few", resealed("\"stack\":{\"weights\":\"", "\"stack\":{\"weights\":\"1 "), "do not fit"),
        ("a digest cut short", resealed("\"digests\":\"", "\"digests\":\"0"), "not an artefact"),
        ("a word for a number", resealed("\"threshold\":\"", "\"threshold\":\"x "), "not an artefact"),
    ];
    for (what, text, wanted) in table {
        let said = Artefact::read(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(wanted), "{what}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Bytes changed and sealed anew: whatever is still an artefact can be asked without a panic.
    #[test]
    fn no_damage_panics(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut inner = serde_json::to_string(artefact()).unwrap().into_bytes();
        let place = at.index(inner.len());
        inner[place] = byte;
        let Ok(inner) = String::from_utf8(inner) else { return Ok(()) };
        let sha256 = hexadecimal(digest(&SHA256, inner.as_bytes()).as_ref());
        let text = format!("{{\"sha256\":\"{sha256}\",\"artefact\":{inner}}}");
        if let Ok((read, _)) = Artefact::read(text.as_bytes()) {
            let row = vec![0.5; read.model.features()];
            let _ = read.model.score(&row);
            let _ = read.model.explain(&row);
            let _ = read.card("x");
        }
    }
}
