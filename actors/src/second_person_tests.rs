use super::*;
use crate::secrets::{KeyMaterial, KeyRing};
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::risk_model::{ModelKind, ModelMetrics};
use models::ts::Ts;

fn key(id: u128, label: &str, rotated_from: Option<u128>) -> ApiKey {
    ApiKey {
        id: KeyId(id),
        operator_no: None,
        jurisdiction: JurisdictionNo(0),
        label: label.to_owned(),
        secret_sha256: "0".repeat(64),
        scopes: vec![Scope::RulesManage],
        purposes: Vec::new(),
        allow_from: Vec::new(),
        rate_per_second: 1,
        created_at: Ts(0),
        expires_at: None,
        revoked_at: None,
        rotated_from: rotated_from.map(KeyId),
    }
}

fn directory(keys: Vec<ApiKey>) -> Directory {
    let ring = KeyRing::new(&KeyMaterial::generate().expect("keys")).expect("a ring");
    let mut directory = Directory::default();
    keys.into_iter().for_each(|key| assert!(directory.set_key(&ring, key, b"secret")));
    directory
}

#[test]
fn two_keys_of_one_name_or_of_one_line_are_one_person() {
    let directory = directory(vec![
        key(1, "Wanjiku", None),
        key(2, " wanjiku", None),
        key(3, "Otieno", None),
        key(4, "Otieno at home", Some(3)),
        key(5, "Otieno again", Some(4)),
    ]);
    // one key | another | is it one person: 8 and 9 are not known
    for (one, other, is_same) in [
        (1, 1, true),
        (1, 2, true),
        (1, 3, false),
        (3, 4, true),
        (3, 5, true),
        (4, 5, true),
        (2, 5, false),
        (8, 8, true),
        (8, 9, false),
    ] {
        for (one, other) in [(one, other), (other, one)] {
            assert_eq!(are_of_one_person(&directory, KeyId(one), KeyId(other)), is_same, "{one} {other}");
        }
    }
    let typed = Who::typed("WANJIKU");
    assert!(is_same_person(&directory, &typed, &who_of(&directory, KeyId(1))));
    assert!(!is_same_person(&directory, &typed, &who_of(&directory, KeyId(3))));
}

fn model(by: &Who, evaluated_by: Option<&Who>) -> Model {
    let held_out = ModelMetrics {
        rows: 1,
        positives: 0,
        auc_ppm: 0,
        average_precision_ppm: 0,
        brier_ppm: 0,
        calibration_error_ppm: 0,
    };
    Model {
        kind: ModelKind::PlayerRisk,
        version: 1,
        artefact_sha256: String::new(),
        schema_sha256: String::new(),
        data_sha256: String::new(),
        features: 1,
        bytes: 1,
        trained_on: None,
        held_out,
        evaluation: None,
        by: by.name.clone(),
        by_key: by.key,
        evaluated_by: evaluated_by.cloned(),
        card: String::new(),
    }
}

/// Registered by, had it judged, promotes; who cannot: why, where no key could say it, and where keys could.
type Case<'a> = (&'a Who, Option<&'a Who>, &'a Who, Option<&'a str>, Option<&'a str>);

#[test]
fn a_promotion_takes_two_people_who_are_known_by_keys_where_there_are_keys() {
    let revoked = ApiKey { revoked_at: Some(Ts(1)), ..key(6, "Achieng", None) };
    let of_operator = ApiKey { operator_no: Some(OperatorNo(1)), ..key(7, "Kamau", None) };
    let reads = ApiKey { scopes: vec![Scope::MarketRead], ..key(8, "Njeri", None) };
    let bare = directory(vec![revoked.clone(), of_operator, reads]);
    let staffed = directory(vec![key(1, "Wanjiku", None), key(3, "Otieno", None), revoked]);
    let keyed = |name: &str, id: u128| Who { name: name.to_owned(), key: Some(KeyId(id)) };
    let (wanjiku, otieno) = (keyed("Wanjiku", 1), keyed("Otieno", 3));
    let (typed, other) = (Who::typed("Wanjiku"), Who::typed("Otieno"));
    let table: [Case<'_>; 9] = [
        (&wanjiku, None, &otieno, None, None),
        (&wanjiku, None, &wanjiku, Some("registered a model"), Some("registered a model")),
        (&wanjiku, Some(&otieno), &otieno, Some("had a model judged"), Some("had a model judged")),
        (&typed, None, &other, None, Some("a typed name proves nobody")),
        (&wanjiku, None, &other, None, Some("a typed name proves nobody")),
        (&typed, None, &otieno, None, Some("have it judged again")),
        (&typed, Some(&wanjiku), &otieno, None, None),
        (&typed, Some(&other), &keyed("Njeri", 9), None, Some("have it judged again")),
        (&typed, None, &wanjiku, Some("registered a model"), Some("registered a model")),
    ];
    for (by, judge, promotes, bare_wanted, staffed_wanted) in table {
        let model = model(by, judge);
        for (directory, wanted) in [(&bare, bare_wanted), (&staffed, staffed_wanted)] {
            let done = second(directory, &model, promotes).and_then(|()| both_proven(directory, &model, promotes));
            match (done, wanted) {
                (Ok(()), None) => {}
                (Err(EngineError::Forbidden(why)), Some(wanted)) => {
                    assert!(why.contains(wanted), "{by:?} {judge:?} {promotes:?}: {why}");
                }
                (done, _) => panic!("{by:?} {judge:?} {promotes:?}: {done:?} instead of {wanted:?}"),
            }
        }
    }
}
