//! One actor per jurisdiction: its rules over all operators. It hears the stored inputs of each in the order of the
//! journal; what its queue refuses it reads from the store. Scores of those who play at several operators it stores as
//! inputs of its own, and hears them where they lie in that order.

use super::input::{Heard, Stored};
use super::judge::OfNation;
use super::keeper::{Keeper, RulesContext};
use super::told::Whose;
use crate::kernel::{DeadLetter, Progress, Work};
use crate::source::Reply;
use futures_util::future::LocalBoxFuture;
use models::risk_model::ModelKind;
use models::rule_input::RuleInput;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a jurisdiction's actor hears.
pub enum NationMsg {
    /// A batch of an operator, with what was known.
    Input(Heard),
    /// Look whether something was missed.
    Clock,
    /// A copy of the state to be kept, where it is worth it.
    Copy {
        /// Where it goes, with the input it stands behind.
        reply: Reply<Option<(i64, OfNation)>>,
    },
}

/// Where a jurisdiction's actor is told that it is behind: positions in the journal have gaps, so it cannot tell itself.
#[derive(Clone, Default)]
pub struct NationSlot(Arc<AtomicBool>);

impl NationSlot {
    /// An input did not reach it.
    pub fn fall_behind(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The actor.
pub struct Nation {
    keeper: Keeper<OfNation>,
    slot: NationSlot,
}

impl Nation {
    pub(crate) async fn recover(
        whose: Whose,
        blank: OfNation,
        context: RulesContext,
        slot: NationSlot,
        progress: &Progress,
    ) -> Result<Self, String> {
        // what is raised from here on is read again, at worst
        slot.0.store(false, Ordering::Release);
        // a state of the nation is large while it is read back
        let keeper = Box::pin(Keeper::recover(whose, blank, context, progress)).await?;
        Ok(Self { keeper, slot })
    }

    async fn handle_msg(&mut self, msg: &NationMsg, progress: &Progress) {
        if self.slot.0.swap(false, Ordering::AcqRel) {
            self.keeper.catch_up_surely(i64::MAX, progress).await;
        }
        match msg {
            NationMsg::Input(heard) => match Stored::heard(heard) {
                Ok(input) => self.keeper.follow(&[input], progress).await,
                Err(error) => tracing::error!(seq = heard.seq, error, "an input of rules cannot be read"),
            },
            NationMsg::Clock => self.keeper.take_models(),
            NationMsg::Copy { reply } => reply.send(self.keeper.copy()),
        }
        self.say().await;
    }

    /// Stores the next scores. They are heard where they lie among the inputs of operators, and the next ones follow.
    async fn say(&mut self) {
        let Some(scored) = self.keeper.state.risk.due() else { return };
        let (whose, context) = (&self.keeper.whose, &self.keeper.context);
        let count = scored.players.len() as u64;
        let input = RuleInput::PlayersScored(Box::new(scored));
        let heard = context.directory.load().rule_input(whose.no, whose.jurisdiction, input);
        match context.writer.commit(vec![heard], Vec::new()).await {
            Ok(_) => {
                context.metrics.scored(ModelKind::PlayerRisk, count);
                self.keeper.state.risk.said();
            }
            // tried again with the next look; what is stored for all that is heard, and heard twice says nothing new
            Err(error) => tracing::warn!(of = whose.code, %error, "scores across operators are stored later"),
        }
    }
}

impl Work for Nation {
    type Msg = NationMsg;

    fn handle<'a>(&'a mut self, msg: Arc<NationMsg>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move { self.handle_msg(&msg, progress).await })
    }

    fn dead_letter<'a>(
        &'a mut self,
        _: Arc<NationMsg>,
        letter: &'a DeadLetter,
        _: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // applying guards itself, and every input is in the store: the next look reads it again
        tracing::error!(panic = %letter.panic, "a message of the rules over all operators is left out");
        self.slot.fall_behind();
        Box::pin(std::future::ready(()))
    }
}
