//! A page under construction. Markup can only be a literal of this program; everything else is escaped.

use std::fmt::Display;

use crate::text::{inert, shown};

/// A page, or a part of one.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Markup of our own.
    pub fn raw(&mut self, markup: &'static str) -> &mut Page {
        self.0.push_str(markup);
        self
    }

    /// A line of text from anywhere: at most [`crate::text::MAX_SHOWN_CHARS`] characters, inert.
    pub fn text(&mut self, text: &str) -> &mut Page {
        escape(&mut self.0, &shown(text));
        self
    }

    /// Text whose line breaks stay, whole: for `<pre>`.
    pub fn lines(&mut self, text: &str) -> &mut Page {
        for (at, line) in text.lines().enumerate() {
            if at > 0 {
                self.0.push('\n');
            }
            escape(&mut self.0, &inert(line));
        }
        self
    }

    /// Prose: paragraphs where the text has blank lines, its other line breaks taken for spaces.
    pub fn prose(&mut self, text: &str) -> &mut Page {
        for paragraph in text.replace('\r', "").split("\n\n") {
            let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            if !paragraph.is_empty() {
                self.element("p", "prose", &paragraph);
            }
        }
        self
    }

    /// A number or the like.
    pub fn show(&mut self, value: impl Display) -> &mut Page {
        self.text(&value.to_string())
    }

    /// ` name="value"`
    pub fn attr(&mut self, name: &'static str, value: impl Display) -> &mut Page {
        self.raw(" ").raw(name).raw("=\"").show(value).raw("\"")
    }

    /// `<tag class="class">text</tag>`
    pub fn element(&mut self, tag: &'static str, class: &'static str, text: &str) -> &mut Page {
        self.raw("<").raw(tag).raw(" class=\"").raw(class).raw("\">").text(text).raw("</").raw(tag).raw(">")
    }

    /// `<tag>text</tag>`
    pub fn plain(&mut self, tag: &'static str, text: &str) -> &mut Page {
        self.raw("<").raw(tag).raw(">").text(text).raw("</").raw(tag).raw(">")
    }

    /// The finished markup.
    pub fn finish(self) -> String {
        self.0
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_text_or_attribute() {
        let mut page = Page::default();
        page.raw("<p").attr("title", "\"><script>x</script>").raw(">").text("<img src=x onerror='y'>&\u{202e}\n");
        assert_eq!(
            page.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;x&lt;/script&gt;\">&lt;img src=x onerror=&#39;y&#39;&gt;&amp;\\u{202e}\\n"
        );
    }
}
