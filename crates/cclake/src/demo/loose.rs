//! Records without the envelope.

pub(super) use super::story::Loose;
use super::{
    clock::{Millis, iso},
    json::Obj,
    rng::{Rng, Uuid},
};

/// The record as a line; `parent` is the event before it.
pub(super) fn render(
    rng: &mut Rng,
    loose: &Loose,
    at: Millis,
    session: Uuid,
    parent: Option<Uuid>,
) -> String {
    let record = Obj::new();
    let record = match loose {
        Loose::Snapshot => snapshot(record, at, parent.unwrap_or_else(|| rng.uuid())),
        Loose::Queue { operation, content } => record
            .str("type", "queue-operation")
            .str("operation", operation)
            .str("timestamp", &iso(at))
            .uuid("sessionId", session)
            .when(true, |o| match content {
                Some(content) => o.str("content", content),
                None => o,
            }),
        Loose::LastPrompt(prompt) => record
            .str("type", "last-prompt")
            .str("lastPrompt", prompt)
            .uuid_or_null("leafUuid", parent)
            .uuid("sessionId", session),
        Loose::PrLink(number) => record
            .str("type", "pr-link")
            .uuid("sessionId", session)
            .int("prNumber", *number)
            .str(
                "prUrl",
                &format!("https://github.com/mara-dev/ledger-api/pull/{number}"),
            )
            .str("prRepository", "mara-dev/ledger-api")
            .str("timestamp", &iso(at)),
        Loose::Title(title) => record
            .str("type", "ai-title")
            .str("aiTitle", title)
            .uuid("sessionId", session),
        Loose::HookLog => record
            .str("hook", "PreToolUse")
            .str("time", &iso(at))
            .raw("payload", "{\"allowed\":true,\"ms\":3.5}")
            .uuid("run", rng.uuid()),
    };
    record.done()
}

/// The title of the conversation that ends at `leaf`; it names neither a session nor a time.
pub(super) fn summary(title: &str, leaf: Uuid) -> String {
    Obj::new()
        .str("type", "summary")
        .str("summary", title)
        .uuid("leafUuid", leaf)
        .done()
}

pub(super) fn snapshot(record: Obj, at: Millis, event: Uuid) -> Obj {
    let snapshot = Obj::new()
        .uuid("messageId", event)
        .raw("trackedFileBackups", "{}")
        .str("timestamp", &iso(at))
        .done();
    record
        .str("type", "file-history-snapshot")
        .uuid("messageId", event)
        .raw("snapshot", &snapshot)
        .bool("isSnapshotUpdate", false)
}
