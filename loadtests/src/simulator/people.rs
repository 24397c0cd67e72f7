//! Who there is: players with their phones, devices, wallets and accounts, made of the scenario and the seed.

use super::calendar::Calendar;
use super::dice::{Dice, letters};
use super::scenario::{AtRisk, Colluders, Launderers, Operator, Play, Scenario};
use super::truth::{AccountRef, Kind, Truth};
use jiff::tz::TimeZone;

/// An account with an operator.
#[derive(Clone, Debug)]
pub struct Account {
    /// Position of the operator.
    pub operator: usize,
    /// The operator's number of it.
    pub reference: String,
    /// What lies on it, minor units.
    pub balance_minor: i64,
    /// It has been opened.
    pub is_open: bool,
    /// What the player allows to be paid in on a day, minor units, where they said so.
    pub limit_minor: Option<i64>,
    /// The day on which was last paid in, and what since the limit was set on it, minor units.
    pub paid_in: (i64, i64),
}

/// A player.
#[derive(Clone, Debug)]
pub struct Member {
    /// The simulator's number of them, from 1.
    pub number: u32,
    /// A mobile number of nobody.
    pub phone: String,
    /// What they play on.
    pub device: String,
    /// What they pay with.
    pub wallet: String,
    /// Accounts, the first of which is the one they began with.
    pub accounts: Vec<Account>,
    /// Records of them so far.
    pub serial: u64,
}

/// How money is washed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In and out with little play.
    InOut,
    /// Deposits below what somebody is said to look at.
    Structuring,
    /// Paid out to somebody else.
    ForeignPayout,
    /// Many accounts on one device, paid out to one wallet.
    SharedDevice,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::InOut, Self::Structuring, Self::ForeignPayout, Self::SharedDevice];

    /// Its name in the ground truth.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InOut => "in_out",
            Self::Structuring => "structuring",
            Self::ForeignPayout => "foreign_payout",
            Self::SharedDevice => "shared_device",
        }
    }
}

/// How two play together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// They bet on both sides.
    OppositeBets,
    /// One loses to the other on purpose.
    ChipDump,
}

impl Trick {
    const ALL: [Self; 2] = [Self::OppositeBets, Self::ChipDump];

    /// Its name in the ground truth.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OppositeBets => "opposite_bets",
            Self::ChipDump => "chip_dump",
        }
    }
}

/// What somebody does whenever their time comes.
#[derive(Clone, Debug)]
pub enum Habit {
    /// Plays within their means: casual, heavy and excluded players.
    Plays(Play),
    /// Loses control.
    LosesControl(AtRisk),
    /// Washes money.
    Launders(Scheme, Launderers),
    /// Plays with another.
    Colludes(Trick, Colluders),
}

/// One who acts: a player, or several who act as one.
#[derive(Debug)]
pub struct Actor {
    /// What they are.
    pub kind: Kind,
    /// What they do.
    pub habit: Habit,
    /// They themselves.
    pub members: Vec<Member>,
    /// What they like best.
    pub product: String,
    /// When they play.
    pub calendar: Calendar,
    /// Their chance.
    pub dice: Dice,
}

impl Actor {
    /// Times a day that they act on average.
    pub fn per_day(&self) -> f64 {
        match &self.habit {
            Habit::Plays(play) => play.sessions_per_day,
            Habit::LosesControl(risk) => risk.play.sessions_per_day,
            Habit::Launders(_, how) => how.rounds_per_day,
            Habit::Colludes(_, how) => how.rounds_per_day,
        }
    }

    /// Lines of the ground truth: one a member.
    pub fn truth<'a>(&'a self, operators: &'a [Operator]) -> impl Iterator<Item = Truth> + 'a {
        let scheme = match self.habit {
            Habit::Launders(scheme, _) => Some(scheme.as_str()),
            Habit::Colludes(trick, _) => Some(trick.as_str()),
            Habit::Plays(_) | Habit::LosesControl(_) => None,
        };
        self.members.iter().map(move |member| Truth::Player {
            player: member.number,
            kind: self.kind,
            scheme,
            phone: member.phone.clone(),
            device_id: member.device.clone(),
            accounts: member
                .accounts
                .iter()
                .map(|account| AccountRef {
                    operator: operators[account.operator].code.clone(),
                    account_ref: account.reference.clone(),
                })
                .collect(),
        })
    }
}

/// Everybody of a scenario.
pub fn everybody(scenario: &Scenario, seed: u64) -> Vec<Actor> {
    let players = &scenario.players;
    let mut makers = Makers { scenario, seed, actors: Vec::new(), members: 0 };
    let crowds = [(Kind::Casual, &players.casual), (Kind::Heavy, &players.heavy), (Kind::Excluded, &players.excluded)];
    for (kind, crowd) in crowds.into_iter().filter_map(|(kind, crowd)| Some((kind, crowd.as_ref()?))) {
        for _ in 0..crowd.count {
            makers.one(kind, Habit::Plays(crowd.play.clone()), crowd.accounts, 1, 1.0);
        }
    }
    if let Some(risk) = &players.at_risk {
        for _ in 0..risk.count {
            makers.one(Kind::AtRisk, Habit::LosesControl(risk.clone()), risk.accounts, 1, risk.night_factor);
        }
    }
    if let Some(how) = &players.launderer {
        for scheme in Scheme::ALL.into_iter().cycle().take(how.count as usize) {
            let members = if scheme == Scheme::SharedDevice { 3 } else { 1 };
            makers.one(Kind::Launderer, Habit::Launders(scheme, how.clone()), 1, members, 1.0);
        }
    }
    if let Some(how) = &players.colluder {
        for trick in Trick::ALL.into_iter().cycle().take(how.pairs as usize) {
            makers.one(Kind::Colluder, Habit::Colludes(trick, how.clone()), 1, 2, 1.0);
        }
    }
    makers.actors
}

struct Makers<'a> {
    scenario: &'a Scenario,
    seed: u64,
    actors: Vec<Actor>,
    members: u32,
}

impl Makers<'_> {
    fn one(&mut self, kind: Kind, habit: Habit, accounts: u32, members: u32, night_factor: f64) {
        let operators = &self.scenario.operators;
        let mut dice = Dice::new(self.seed, "actor", self.actors.len() as u64);
        let wanted = match &habit {
            Habit::Colludes(Trick::OppositeBets, _) => Some("sportsbook"),
            Habit::Colludes(Trick::ChipDump, _) => Some("poker"),
            _ => None,
        };
        // whoever needs a game goes where it is offered; where nobody offers it, anywhere
        let offers = |no: &usize| wanted.is_none_or(|game| operators[*no].products.iter().any(|p| p == game));
        let mut homes: Vec<usize> = (0..operators.len()).filter(offers).collect();
        if homes.is_empty() {
            homes = (0..operators.len()).collect();
        }
        let home = by_size(&mut dice, operators, &homes);
        let products = &operators[home].products;
        let liked = dice.pick(products).cloned().unwrap_or_default();
        let product = wanted.filter(|game| products.iter().any(|p| p == game)).map_or(liked, ToOwned::to_owned);
        // money does not cross a border
        let is_near = |no: &usize| {
            *no != home
                && operators[*no].jurisdiction == operators[home].jurisdiction
                && operators[*no].currency == operators[home].currency
        };
        let mut near: Vec<usize> = (0..operators.len()).filter(is_near).collect();
        let mut chosen = vec![home];
        while chosen.len() < accounts as usize && !near.is_empty() {
            let at = dice.between(0, near.len() as i64 - 1).unsigned_abs() as usize;
            chosen.push(near.swap_remove(at));
        }
        let members: Vec<Member> = (0..members).map(|_| self.member(home, &chosen)).collect();
        let members = match habit {
            Habit::Launders(Scheme::SharedDevice, _) => {
                let (device, wallet) = (members[0].device.clone(), members[0].wallet.clone());
                let shared = |member: Member| Member { device: device.clone(), wallet: wallet.clone(), ..member };
                members.into_iter().map(shared).collect()
            }
            _ => members,
        };
        let zone = TimeZone::get(&operators[home].zone).unwrap_or(TimeZone::UTC);
        let calendar = Calendar::new(zone, self.scenario.seasons.get(&product), night_factor);
        self.actors.push(Actor { kind, habit, members, product, calendar, dice });
    }

    fn member(&mut self, home: usize, operators: &[usize]) -> Member {
        self.members += 1;
        Member::new(self.scenario, self.seed, self.members, home, operators)
    }
}

impl Member {
    /// Somebody with an account at each of these operators.
    pub fn new(scenario: &Scenario, seed: u64, number: u32, home: usize, operators: &[usize]) -> Self {
        let name = letters(u64::from(number) + 8_000);
        let account = |operator: &usize| Account {
            operator: *operator,
            reference: format!("acct-{name}-{}", letters(*operator as u64)),
            balance_minor: 0,
            is_open: false,
            limit_minor: None,
            paid_in: (0, 0),
        };
        Self {
            number,
            wallet: format!("wallet-{name}"),
            device: format!("device-{name}"),
            phone: phone(&scenario.operators[home].jurisdiction, seed, number),
            accounts: operators.iter().map(account).collect(),
            serial: 0,
        }
    }
}

/// One of these operators, each as often as it is large.
fn by_size(dice: &mut Dice, operators: &[Operator], homes: &[usize]) -> usize {
    let sizes = || homes.iter().map(|no| operators[*no].size);
    let mut left = dice.unit() * sizes().sum::<f64>();
    let chosen = homes.iter().find(|no| {
        left -= operators[**no].size;
        left < 0.0
    });
    chosen.or(homes.last()).copied().unwrap_or(0)
}

/// A mobile number of the jurisdiction's country; a seed's numbers are a block of 200,000 of their own.
fn phone(jurisdiction: &str, seed: u64, number: u32) -> String {
    let block = Dice::new(seed, "phones", 0).between(0, 34);
    let number = block * 200_000 + i64::from(number);
    if jurisdiction.starts_with("NG") { format!("0803{number:07}") } else { format!("071{number:07}") }
}

/// A wallet of somebody who plays nowhere.
pub fn stranger(dice: &mut Dice) -> String {
    format!("wallet-x-{}", letters(dice.between(0, i64::from(u32::MAX)).unsigned_abs()))
}
