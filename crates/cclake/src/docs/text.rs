//! Words for people: descriptions with `code` in them, Markdown.

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

/// A description: text in backticks is code.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Markdown as HTML. HTML in it is shown as text, and links to files beside it, which are not here, are dropped.
pub(super) fn markdown(text: &str) -> Markup {
    let is_elsewhere =
        |link: &str| link.starts_with("http://") || link.starts_with("https://") || link.starts_with('#');
    let mut dropped = Vec::new();
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Some(Event::Text(html)),
        Event::Start(Tag::Link { ref dest_url, .. }) => {
            let keep = is_elsewhere(dest_url);
            dropped.push(!keep);
            keep.then_some(event)
        }
        Event::End(TagEnd::Link) => match dropped.pop() {
            Some(true) => None,
            _ => Some(event),
        },
        // Pages take nothing from the network.
        Event::Start(Tag::Image { title, .. }) => Some(Event::Text(title)),
        Event::End(TagEnd::Image) => Some(Event::Text(CowStr::Borrowed(""))),
        event => Some(event),
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    let html = html
        .replace("<table>", "<div class=\"wide\"><table>")
        .replace("</table>", "</table></div>");
    PreEscaped(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(markdown(text).into_string().trim(), expected);
    }

    #[test]
    fn markdown_is_rendered_and_harmless() {
        check("# A *b*", "<h1>A <em>b</em></h1>");
        check("a <script>x</script>", "<p>a &lt;script&gt;x&lt;/script&gt;</p>");
        check(
            "[guide](guide.md) [web](https://a.b)",
            "<p>guide <a href=\"https://a.b\">web</a></p>",
        );
        check("[x](javascript:alert(1))", "<p>x</p>");
        check("`a < b`", "<p><code>a &lt; b</code></p>");
    }

    #[test]
    fn descriptions_have_code() {
        assert_eq!(prose("a `b<` c").into_string(), "a <code>b&lt;</code> c");
    }
}
