//! The `message` of assistant and user records, which progress records carry too.

use std::ops::Range;

use super::{
    cast::{Client, Era},
    json::{Obj, array, quoted},
    rng::Rng,
    story::{Block, Response, Usage},
    tools::Reply,
};

/// One line of a response: its blocks, and the output tokens it knows of.
pub(super) struct Slice {
    pub(super) blocks: Range<usize>,
    pub(super) output: u64,
}

/// The lines of a response: one per block, the oldest clients' one for all. Output grows, and is final on the last
/// line, newest clients' on every line.
pub(super) fn slices(response: &Response, client: Client) -> Vec<Slice> {
    let (total, count) = (response.usage.output, response.blocks.len());
    if !client.is_streamed {
        return vec![Slice {
            blocks: 0..count,
            output: total,
        }];
    }
    let output = |index: usize| match client.era {
        Era::Late => total,
        _ if index + 1 == count => total,
        _ => (total * (index as u64 + 1) / 50).clamp(1, total),
    };
    (0..count)
        .map(|index| Slice {
            blocks: index..index + 1,
            output: output(index),
        })
        .collect()
}

/// The `usage` object.
pub(super) fn usage(usage: &Usage, output: u64, with_split: bool) -> String {
    let split = || {
        Obj::new()
            .int("ephemeral_5m_input_tokens", usage.cache_write_5m)
            .int("ephemeral_1h_input_tokens", usage.cache_write_1h)
            .done()
    };
    Obj::sized(256)
        .int("input_tokens", usage.input)
        .int(
            "cache_creation_input_tokens",
            usage.cache_write_5m + usage.cache_write_1h,
        )
        .int("cache_read_input_tokens", usage.cache_read)
        .when(with_split, |o| o.raw("cache_creation", &split()))
        .int("output_tokens", output)
        .str("service_tier", "standard")
        .done()
}

/// The message of one line of a response: its blocks, and the usage of the whole.
pub(super) fn assistant(rng: &mut Rng, client: Client, response: &Response, slice: &Slice) -> String {
    let is_last = slice.blocks.end == response.blocks.len();
    let content = array(
        response.blocks[slice.blocks.clone()]
            .iter()
            .map(|(_, block)| self::block(rng, client, block)),
    );
    let stop = match client.era {
        _ if response.synthetic => Some(response.stop),
        Era::Late => Some(response.stop),
        Era::Two if is_last => Some(response.stop),
        _ => None,
    };
    let usage = usage(&response.usage, slice.output, client.is_streamed);
    Obj::sized(content.len() + 512)
        .str("model", response.model)
        .str("id", &response.message)
        .str("type", "message")
        .str("role", "assistant")
        .raw("content", &content)
        .when(true, |o| match stop {
            Some(reason) => o.str("stop_reason", reason),
            None => o.null("stop_reason"),
        })
        .null("stop_sequence")
        .raw("usage", &usage)
        .done()
}

fn block(rng: &mut Rng, client: Client, block: &Block) -> String {
    match block {
        Block::Text(text) => Obj::sized(text.len() + 64)
            .str("type", "text")
            .str("text", text)
            .done(),
        Block::Thinking(text) => Obj::sized(text.len() + 512)
            .str("type", "thinking")
            .str("thinking", if client.era == Era::Late { "" } else { text })
            .str("signature", &format!("{}==", rng.id("Ep", 326)))
            .done(),
        Block::Use { id, name, input } => Obj::sized(input.len() + 128)
            .str("type", "tool_use")
            .str("id", id)
            .str("name", name)
            .raw("input", input)
            .when(client.era == Era::Late, |o| {
                o.raw("caller", "{\"type\":\"direct\"}")
            })
            .done(),
    }
}

/// The message of a user record that answers a tool use.
pub(super) fn result(call: &str, reply: &Reply) -> String {
    user(&array([result_block(call, reply)]))
}

/// The message of a user record that answers several.
pub(super) fn results(replies: &[(String, Reply)]) -> String {
    user(&array(
        replies.iter().map(|(call, reply)| result_block(call, reply)),
    ))
}

fn result_block(call: &str, reply: &Reply) -> String {
    Obj::sized(reply.content.len() + 128)
        .str("tool_use_id", call)
        .str("type", "tool_result")
        .raw("content", &reply.content)
        .when(true, |o| match reply.is_error {
            Some(is_error) => o.bool("is_error", is_error),
            None => o,
        })
        .done()
}

/// A user's message with `content` as JSON.
pub(super) fn user(content: &str) -> String {
    Obj::sized(content.len() + 32)
        .str("role", "user")
        .raw("content", content)
        .done()
}

/// A user's message of plain text; as an array of one block where `as_array`.
pub(super) fn text(text: &str, as_array: bool) -> String {
    if as_array {
        user(&format!(
            "[{}]",
            Obj::new().str("type", "text").str("text", text).done()
        ))
    } else {
        user(&quoted(text))
    }
}
