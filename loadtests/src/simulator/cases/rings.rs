//! Stories of rings over operators: so few at each that none of them has a reason to ask. Beside those of which it is promised
//! that they are found, others of any [`Shape`].

use super::{Teller, hours, play};
use crate::simulator::people::{Member, stranger};
use crate::simulator::truth::{About, Case};
use models::ts::{DAY, HOUR, MINUTE, Ts};

/// Each of them once.
pub(super) const ALL: &[fn(&mut Teller<'_>)] =
    &[one_wallet_here_and_there, one_phone_here_and_there, household_everywhere, own_wallet_everywhere];

/// Some people have accounts here and there, as in every market, and play at both. Gives when they are done.
fn regulars(teller: &mut Teller<'_>, places: &[usize], at: Ts) -> Ts {
    let mut end = at;
    for _ in 0..teller.dice.between(4, 6) {
        let mut who = teller.member(places);
        for account in 0..places.len() {
            end = plays(teller, &mut who, (account, end.plus(10 * MINUTE)));
        }
    }
    end
}

/// Pays in and plays a little.
fn plays(teller: &mut Teller<'_>, who: &mut Member, (account, at): (usize, Ts)) -> Ts {
    let product = teller.product(who, account);
    teller.visit(who, account, at, |script| {
        script.deposit(50_000, true);
        play(script, &product, 40_000, 2);
    })
}

/// Pays in, plays a little and has half of the rest paid out to a wallet.
fn pays_out_to(teller: &mut Teller<'_>, who: &mut Member, (account, at): (usize, Ts), wallet: &str) -> Ts {
    let (product, amount) = (teller.product(who, account), teller.amount(100_000, 300_000));
    let to = Some(wallet.to_owned());
    teller.visit(who, account, at, |script| {
        script.deposit(amount, true);
        play(script, &product, amount / 3, 3);
        script.await_settled();
        let half = script.balance() / 2;
        script.withdraw(half.max(100), to, "successful");
    })
}

/// Two here and one or two there have an account each, and all of them are paid out to one wallet.
fn one_wallet_here_and_there(teller: &mut Teller<'_>) {
    let (places, at) = (teller.operators(2), teller.awake());
    let mut end = regulars(teller, &places, at);
    let wallet = stranger(&mut teller.dice);
    let from = end;
    for (no, place) in places.iter().enumerate() {
        let count = if no == 0 { 2 } else { teller.dice.between(1, 2) };
        for _ in 0..count {
            let mut who = teller.member(&[*place]);
            end = pays_out_to(teller, &mut who, (0, end.plus(10 * MINUTE)), &wallet);
        }
    }
    let (what, conditions) = ("a ring with one wallet over operators", vec!["shared_payout_account_across_operators"]);
    let case = Case { what, conditions, about: Vec::new(), operators: places, from, to: end };
    teller.case_about(vec![About::Wallet(wallet)], case);
}

/// One plays here and there, a second here and a third there, all of them on one phone.
fn one_phone_here_and_there(teller: &mut Teller<'_>) {
    let (places, at) = (teller.operators(2), teller.awake());
    let mut end = regulars(teller, &places, at);
    let from = end;
    let mut head = teller.member(&places);
    let device = head.device.clone();
    for (account, place) in places.iter().enumerate() {
        let mut other = teller.member(&[*place]);
        other.device.clone_from(&device);
        for (who, account) in [(&mut head, account), (&mut other, 0)] {
            let product = teller.product(who, account);
            end = teller.visit(who, account, end.plus(20 * MINUTE), |script| {
                script.deposit(100_000, true);
                play(script, &product, 90_000, 4);
            });
        }
    }
    let (what, conditions) = ("a ring on one phone over operators", vec!["shared_device_across_operators"]);
    let case = Case { what, conditions, about: Vec::new(), operators: places, from, to: end };
    teller.case_about(vec![About::Device(device)], case);
}

/// A couple shares a phone and a wallet, and both play at several operators.
fn household_everywhere(teller: &mut Teller<'_>) {
    let (places, at) = (teller.operators(3), teller.awake());
    let (mut one, mut other) = (teller.member(&places), teller.member(&places));
    (other.device, other.wallet) = (one.device.clone(), one.wallet.clone());
    let mut end = at;
    for account in 0..places.len() {
        for member in [&mut one, &mut other] {
            let product = teller.product(member, account);
            end = teller.visit(member, account, end.plus(HOUR), |script| {
                script.deposit(100_000, true);
                play(script, &product, 90_000, 6);
                script.await_settled();
                let half = script.balance() / 2;
                script.withdraw(half, None, "successful");
            });
        }
    }
    let what = "a household that plays at several operators";
    let about = vec![About::Device(one.device.clone()), About::Wallet(one.wallet.clone())];
    let case = Case { what, conditions: Vec::new(), about: Vec::new(), operators: places, from: at, to: end };
    teller.case_about(about, case);
}

/// Somebody plays at several operators and is paid out to their own number everywhere.
fn own_wallet_everywhere(teller: &mut Teller<'_>) {
    let (places, at) = (teller.operators(4), teller.awake());
    let mut who = teller.member(&places);
    let wallet = who.wallet.clone();
    let mut end = at;
    for account in 0..places.len() {
        end = pays_out_to(teller, &mut who, (account, end.plus(hours(2))), &wallet);
    }
    teller.case("paid to one's own number everywhere", &[], &[&who], (at, end));
}

/// What people share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// All of them are paid out to one wallet.
    Wallet,
    /// All of them play on one phone.
    Phone,
}

/// How people who share something are spread over operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What it is.
    pub shared: Shared,
    /// So many of them have an account at each of the operators.
    pub everywhere: usize,
    /// So many have one at one operator alone, by operator: there are as many operators as numbers.
    pub alone: &'static [usize],
    /// Days from the first of them to the last.
    pub days: i64,
    /// Others who play at all of these operators, before.
    pub regulars: usize,
    /// Whoever plays at several operators is known by the same number at all of them; otherwise by another one at each.
    pub is_named_alike: bool,
}

/// Somebody, by one name or by one for each place.
struct Person(Vec<Member>);

impl Person {
    fn new(teller: &mut Teller<'_>, places: &[usize], is_named_alike: bool) -> Self {
        if is_named_alike {
            return Self(vec![teller.member(places)]);
        }
        Self(places.iter().map(|place| teller.member(&[*place])).collect())
    }

    /// As they are known at a place, and which of their accounts it is.
    fn at(&mut self, place: usize) -> (&mut Member, usize) {
        if self.0.len() > 1 { (&mut self.0[place], 0) } else { (&mut self.0[0], place) }
    }
}

/// Regulars of operators, and then people who share something.
pub(super) fn shaped(teller: &mut Teller<'_>, shape: &Shape) {
    let (places, mut end) = (teller.operators(shape.alone.len()), teller.awake());
    for _ in 0..shape.regulars {
        let mut who = Person::new(teller, &places, shape.is_named_alike);
        for place in 0..places.len() {
            let (name, account) = who.at(place);
            end = plays(teller, name, (account, end.plus(10 * MINUTE)));
        }
    }
    let mut heads: Vec<Person> =
        (0..shape.everywhere).map(|_| Person::new(teller, &places, shape.is_named_alike)).collect();
    let thing = stranger(&mut teller.dice);
    let visits = shape.everywhere * places.len() + shape.alone.iter().sum::<usize>();
    let pause = (shape.days * DAY / (visits as i64 - 1).max(1)).max(HOUR);
    let from = end.plus(HOUR);
    let mut at = from;
    for (place, operator) in places.iter().enumerate() {
        let mut others: Vec<Member> = (0..shape.alone[place]).map(|_| teller.member(&[*operator])).collect();
        let here = heads.iter_mut().map(|head| head.at(place)).chain(others.iter_mut().map(|other| (other, 0)));
        for (who, account) in here {
            end = shares(teller, who, (account, at), (shape.shared, thing.as_str()));
            at = at.plus(pause);
        }
    }
    let (about, rule) = match shape.shared {
        Shared::Wallet => (About::Wallet(thing), "shared_payout_account_across_operators"),
        Shared::Phone => (About::Device(thing), "shared_device_across_operators"),
    };
    let (what, conditions) = ("people who share something over operators", vec![rule]);
    let case = Case { what, conditions, about: Vec::new(), operators: places, from, to: end };
    teller.case_about(vec![about], case);
}

/// Somebody uses what they share with others.
fn shares(
    teller: &mut Teller<'_>,
    who: &mut Member,
    (account, at): (usize, Ts),
    (shared, thing): (Shared, &str),
) -> Ts {
    match shared {
        Shared::Wallet => pays_out_to(teller, who, (account, at), thing),
        Shared::Phone => {
            thing.clone_into(&mut who.device);
            plays(teller, who, (account, at))
        }
    }
}
