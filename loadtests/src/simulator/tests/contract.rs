//! The forms in which the parties speak, field by field.

use super::super::sales;
use super::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The shape of a value: names and types.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let each = members.iter().map(|(name, value)| match (name.as_str(), value) {
                // by product: each operator offers others
                ("return_to_player", Value::Object(products)) => {
                    let first = products.values().next().map_or(Value::Null, shape);
                    assert!(products.values().all(|said| shape(said) == first), "{value}");
                    (name.clone(), json!({"product": first}))
                }
                _ => (name.clone(), shape(value)),
            });
            each.collect()
        }
        Value::Array(items) => items.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::String(_) => "text".into(),
        Value::Number(number) if number.is_f64() => "float".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

/// Every shape of a kind of a class that there is in a world.
fn shapes(told: &Told) -> BTreeMap<(Class, &'static str), Vec<Value>> {
    let mut shapes: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for sent in &told.records {
        let shape = shape(&serde_json::from_str(&sent.record.json()).unwrap());
        let known = shapes.entry((sent.class, sent.record.kind)).or_default();
        if !known.contains(&shape) {
            known.push(shape);
        }
    }
    shapes
}

#[test]
fn the_forms_of_authorities_are_those_of_the_contract() {
    let told = Told::of(small_market(), 1, 10);
    let shapes = shapes(&told);
    let check = |class, kind, of: Vec<Value>| {
        // the first of a kind replaces nothing: in the order in which they are met
        assert_eq!(shapes[&(class, kind)], of, "{kind}");
    };
    let head = |kind: &str, own: Value| {
        let mut value = json!({"record_id": "text", "kind": "text", "occurred_at": "text"});
        value.as_object_mut().unwrap().insert(kind.to_owned(), own);
        value
    };
    let with = |mut value: Value, name: &str, own: Value| {
        value.as_object_mut().unwrap().insert(name.to_owned(), own);
        value
    };
    let money = json!({"amount_minor": "number", "currency": "text"});
    let licence = json!({"number": "text", "licence_class": "text", "products": ["text"], "valid_from": "text",
        "valid_to": "text", "state": "text", "compliance": "text", "conditions": ["text"],
        "return_to_player": {"product": {"return_ppm": "number", "multiple_max": "number"}}});
    check(Class::Licences, "licence_status", vec![head("licence_status", licence)]);
    let invoice = json!({"number": "text", "authority": "text", "tax": "text", "jurisdiction": "text", "period_from": "text",
        "period_to": "text", "due_at": "text", "state": "text", "paid_minor": "number"});
    let invoice = with(head("invoice", invoice), "money", money.clone());
    check(Class::Invoices, "invoice", vec![invoice.clone(), with(invoice, "replaces", "text".into())]);
    let payment = json!({"method": "text", "account": "text", "reference": "text", "invoice": "text", "authority": "text",
        "state": "text"});
    let payment = with(head("payment", payment), "money", money.clone());
    check(Class::Payments, "payment", vec![payment.clone(), with(payment, "replaces", "text".into())]);
    let line = json!({"account": "text", "statement": "text", "line": "number", "direction": "text", "value_date": "text",
        "counterparty": "text", "reference": "text"});
    let line = with(with(head("bank", line), "money", money), "balance_after_minor", "number".into());
    check(Class::BankStatements, "bank_line", vec![line]);
}

#[test]
fn words_of_closed_sets_are_those_of_the_contract() {
    let told = Told::of(small_demo(), 2, 1);
    let words = |class, object: fn(&super::super::record::Record) -> Option<&Value>, field: &str| {
        let values = told.of_class(class).filter_map(|sent| object(&sent.record));
        values.map(|value| value[field].as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<String>>();
    let invoices = words(Class::Invoices, |record| record.invoice.as_ref(), "state");
    assert_eq!(invoices, set(&["issued", "overdue", "paid", "part_paid"]));
    let payments = words(Class::Payments, |record| record.payment.as_ref(), "state");
    assert_eq!(payments, set(&["completed", "pending"]));
    let lines = words(Class::BankStatements, |record| record.bank.as_ref(), "direction");
    assert_eq!(lines, set(&["credit", "debit"]));
    let compliance = words(Class::Licences, |record| record.licence_status.as_ref(), "compliance");
    assert_eq!(compliance, set(&["compliant", "under_review"]));
    // the market has a campaign in the middle of its first week
    let market = Told::of(small_market(), 2, 6);
    let kinds = |class| -> BTreeSet<String> {
        let both = told.of_class(class).chain(market.of_class(class));
        both.map(|sent| sent.record.kind.to_owned()).collect()
    };
    assert_eq!(kinds(Class::SalesRedemptions), set(&["redemption", "ticket_sale", "void"]));
    assert_eq!(kinds(Class::GamingTransactions), set(&["bonus", "deposit", "payout", "stake", "withdrawal"]));
    let accounts =
        set(&["account_opened", "complaint", "intervention", "limit_change", "login", "session_end", "session_start"]);
    assert_eq!(kinds(Class::PlayerAccounts), accounts);
}

#[test]
fn a_spreadsheet_of_sales_is_the_records_of_sales() {
    let told = Told::of(small_demo(), 4, 1);
    let (no, operator) = told.scenario.operators.iter().enumerate().find(|(_, o)| o.sales.is_some()).unwrap();
    let mapping = engine::mapping::Mapping::from_toml(&sales::mapping(operator)).unwrap();
    assert_eq!(mapping.operators(), [("nyati-lotto", "Nyati Lotto")]);
    let rows: Vec<&Sent> = told.of_class(Class::SalesRedemptions).filter(|sent| sent.operator == no).collect();
    let file = sales::HEAD.to_owned() + &rows.iter().map(|sent| sales::row(sent, operator)).collect::<String>();
    assert!(file.lines().all(|line| line.starts_with('"') && line.ends_with('"') && line.matches(';').count() == 9));
    let mapped = mapping.read(file.as_bytes()).unwrap();
    assert_eq!((mapped.refusals, mapped.records.len()), (Vec::new(), rows.len()));
    let said: BTreeMap<String, Value> = mapped
        .records
        .iter()
        .map(|record| serde_json::from_str::<Value>(&record.json).unwrap())
        .map(|value| (value["record_id"].as_str().unwrap().to_owned(), value))
        .collect();
    for sent in rows {
        let (said, meant) = (&said[&sent.record.record_id], serde_json::to_value(&sent.record).unwrap());
        for field in ["kind", "occurred_at", "product", "channel", "outlet_id", "terminal_id", "region"] {
            assert_eq!(said[field], meant[field], "{field}");
        }
        assert_eq!((&said["money"], &said["bet"]["id"]), (&meant["money"], &meant["bet"]["id"]));
    }
}

#[test]
fn the_mapping_of_sales_becomes_that_of_another_operator() {
    let market = scenario("market");
    let text = sales::mapping(&market.operators[0]);
    assert_eq!(engine::mapping::Mapping::from_toml(&text).unwrap().operators(), [("tembo-bet", "Tembo Bet")]);
}

#[test]
fn no_text_that_is_not_a_phone_looks_like_one() {
    let told = Told::of(small_market(), 7, 2);
    for sent in told.of_class(Class::GamingTransactions).take(2_000) {
        let record = &sent.record;
        let texts = [Some(&record.record_id), record.session_id.as_ref(), record.device_id.as_ref()];
        assert!(texts.into_iter().flatten().all(|text| !text.bytes().any(|b| b.is_ascii_digit())), "{record:?}");
    }
}
