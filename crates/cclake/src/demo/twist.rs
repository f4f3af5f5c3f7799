//! The oddities of real transcripts, dealt out over the sessions.

use super::rng::Rng;

/// An oddity of one session or of its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Twist {
    /// Starts with the history of an earlier session.
    Resume,
    Agent,
    /// The sub-agent leaves no trace but progress records.
    AgentUnseen,
    Compaction,
    ApiError,
    Interrupt,
    Rejection,
    /// Ends on a tool use without an answer.
    Dies,
    UnpricedModel,
    /// Goes on in another folder or worktree.
    Moves,
    /// Runs over midnight, UTC.
    Midnight,
    Queue,
    Command,
    Image,
    /// Record types and shapes that no reader knows.
    Foreign,
    /// The last line lacks its newline but is whole.
    NoFinalNewline,
    /// The last line was cut while being written.
    Torn,
    Malformed,
    Duplicate,
    Blank,
    /// A second file beside it that holds no conversation.
    LooseFile,
    EmptyFile,
}

/// Every oddity and how often (‰ of sessions) it comes by chance; `NoFinalNewline` as in real trees (53 of 72 files).
const ODDS: [(Twist, u64); 22] = [
    (Twist::Resume, 120),
    (Twist::Agent, 240),
    (Twist::AgentUnseen, 150),
    (Twist::Compaction, 70),
    (Twist::ApiError, 50),
    (Twist::Interrupt, 100),
    (Twist::Rejection, 150),
    (Twist::Dies, 40),
    (Twist::UnpricedModel, 15),
    (Twist::Moves, 80),
    (Twist::Midnight, 8),
    (Twist::Queue, 120),
    (Twist::Command, 250),
    (Twist::Image, 60),
    (Twist::Foreign, 30),
    (Twist::NoFinalNewline, 700),
    (Twist::Torn, 12),
    (Twist::Malformed, 15),
    (Twist::Duplicate, 25),
    (Twist::Blank, 15),
    (Twist::LooseFile, 40),
    (Twist::EmptyFile, 6),
];

/// What one session got.
pub(super) struct Twists(Vec<Twist>);

impl Twists {
    /// By chance, and one in turn, so that every oddity shows within a few dozen sessions whatever the seed.
    /// 9 has no divisor in common with 22: sessions near each other in time get oddities far apart in the list.
    pub(super) fn deal(rng: &mut Rng, index: u64) -> Self {
        let turn = index.wrapping_mul(9) % ODDS.len() as u64;
        let dealt = ODDS
            .iter()
            .zip(0..)
            .filter(|((_, odds), place)| rng.chance(*odds) || *place == turn);
        Self(dealt.map(|((twist, _), _)| *twist).collect())
    }

    /// For the file of a sub-agent.
    pub(super) fn of_agent(rng: &mut Rng) -> Self {
        Self(if rng.chance(300) {
            vec![Twist::NoFinalNewline]
        } else {
            Vec::new()
        })
    }

    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn has(&self, twist: Twist) -> bool {
        self.0.contains(&twist)
    }
}
