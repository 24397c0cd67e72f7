//! What authorities and banks say is what was played, but for the errors that the truth names.

use super::super::ledger::Played;
use super::*;
use models::ts::DAY;
use std::collections::BTreeMap;

fn sums(told: &Told, operator: usize, from: Ts, to: Ts) -> Played {
    let mut played = Played::default();
    let spanned = told.records.iter().filter(|s| s.operator == operator && (from..to).contains(&s.at));
    spanned.for_each(|sent| played.take(&sent.record));
    played
}

#[test]
fn invoices_and_what_they_hide_come_to_the_tax_on_what_was_played() {
    for seed in [1, 2, 3] {
        let days = 9;
        let told = Told::of(small_market(), seed, days);
        let begin = Ts::parse(MONDAY).unwrap();
        let mut hidden: BTreeMap<String, i64> = BTreeMap::new();
        for line in &told.truths {
            if let Truth::Discrepancy { mark: "understated_invoice", amount_minor, records, .. } = line {
                hidden.insert(records[0].id.clone(), amount_minor.unwrap());
            }
        }
        let mut checked = 0;
        let mut seen = BTreeSet::new();
        for sent in told.of_class(Class::Invoices).filter(|sent| sent.record.replaces.is_none()) {
            let invoice = sent.record.invoice.as_ref().unwrap();
            let name = invoice["tax"].as_str().unwrap();
            let operator = &told.scenario.operators[sent.operator];
            let tax =
                told.scenario.taxes.iter().find(|t| t.name == name && t.jurisdiction == operator.jurisdiction).unwrap();
            let played = sums(&told, sent.operator, sent.at.plus(-DAY).max(begin), sent.at);
            let base = match name {
                "gaming_tax" => played.stakes - played.payouts,
                "excise_duty" => played.deposits,
                _ => played.withdrawals,
            };
            let owed = (base as f64 * tax.percent / 100.0).round() as i64;
            let amount = sent.record.money.as_ref().unwrap().amount_minor;
            let hid = hidden.get(&sent.record.record_id).copied().unwrap_or(0);
            assert_eq!(amount + hid, owed, "{:?}", sent.record);
            assert!(seen.insert((sent.operator, name.to_owned(), sent.at)), "one a period");
            checked += 1;
        }
        // two operators pay three taxes each and one a single one; a period without play has none
        assert!(checked > 7 * (days - 1) / 2, "{checked}");
        assert!(!hidden.is_empty() || seed > 1);
    }
}

#[test]
fn payments_follow_their_invoices_and_reach_the_bank() {
    let told = Told::of(small_market(), 5, 14);
    let ghosts: BTreeSet<String> = told
        .truths
        .iter()
        .filter_map(|line| match line {
            Truth::Discrepancy { mark: "ghost_payment", records, .. } => Some(records[0].id.clone()),
            _ => None,
        })
        .collect();
    let debits: BTreeMap<String, i64> = told
        .of_class(Class::BankStatements)
        .filter(|sent| sent.record.bank.as_ref().unwrap()["direction"] == "debit")
        .map(|sent| {
            let reference = sent.record.bank.as_ref().unwrap()["reference"].as_str().unwrap().to_owned();
            (reference, sent.record.money.as_ref().unwrap().amount_minor)
        })
        .collect();
    let mut completed = 0;
    for sent in told.of_class(Class::Payments) {
        let payment = sent.record.payment.as_ref().unwrap();
        if payment["state"] != "completed" {
            continue;
        }
        completed += 1;
        let replaced = sent.record.replaces.clone().unwrap();
        let name = RecordRef { operator: String::new(), class: Class::Payments, id: replaced };
        assert!(told.find(&name).is_some_and(|before| before.at < sent.at), "it was pending first");
        let amount = sent.record.money.as_ref().unwrap().amount_minor;
        let debit = debits.get(payment["reference"].as_str().unwrap());
        let is_ghost = ghosts.contains(&sent.record.record_id);
        assert_eq!(debit, Some(&amount).filter(|_| !is_ghost), "{payment}");
    }
    assert!(completed > 20, "{completed}");
    // versions of an invoice replace each other
    for sent in told.of_class(Class::Invoices).filter(|sent| sent.record.replaces.is_some()) {
        let id = sent.record.replaces.clone().unwrap();
        let before = told.find(&RecordRef { operator: String::new(), class: Class::Invoices, id }).unwrap();
        assert_eq!(before.record.invoice.as_ref().unwrap()["number"], sent.record.invoice.as_ref().unwrap()["number"]);
    }
}

#[test]
fn statements_follow_from_the_line_before_and_from_what_was_paid() {
    let told = Told::of(small_market(), 6, 7);
    let begin = Ts::parse(MONDAY).unwrap();
    for (no, operator) in told.scenario.operators.iter().enumerate() {
        let mut balance = operator.opening_balance_minor;
        let (mut statement, mut line) = (String::new(), 0);
        let (mut paid_in, mut last) = (0, begin);
        for sent in told.of_class(Class::BankStatements).filter(|sent| sent.operator == no) {
            let bank = sent.record.bank.as_ref().unwrap();
            let amount = sent.record.money.as_ref().unwrap().amount_minor;
            assert!(amount >= 0);
            balance += if bank["direction"] == "credit" { amount } else { -amount };
            assert_eq!(sent.record.balance_after_minor, Some(balance));
            if bank["statement"] != statement.as_str() {
                statement = bank["statement"].as_str().unwrap().to_owned();
                line = 0;
            }
            line += 1;
            assert_eq!(bank["line"], line, "lines count from 1 on each statement");
            if bank["reference"] == "DEPOSITS" {
                paid_in += amount;
                last = sent.at;
            }
        }
        let hidden: i64 = told
            .truths
            .iter()
            .filter_map(|line| match line {
                Truth::Discrepancy { mark: "wrong_settlement", operator: code, amount_minor: Some(by), .. } => {
                    Some(*by).filter(|by| *code == operator.code && *by > 0)
                }
                _ => None,
            })
            .sum();
        assert!(last > begin.plus(5 * DAY), "{}: {last}", operator.code);
        assert_eq!(paid_in + hidden, sums(&told, no, begin, last).deposits, "{}", operator.code);
    }
}
