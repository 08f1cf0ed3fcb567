//! XML as a value: elements with attributes, texts and children, written with every text escaped. Nothing of a user's
//! gets into a document in any other way.

use thiserror::Error;

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(String),
}

/// A text has a character that XML has no way to write, escaped or not (XML 1.0, production 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it holds the character {0:?}, which a definition cannot hold")]
pub(super) struct Unwritable(char);

impl Element {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), content: Vec::new() }
    }

    pub(super) fn attribute(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.content.push(Node::Text(text.into()));
        self
    }

    pub(super) fn child(mut self, child: Self) -> Self {
        self.content.push(Node::Element(child));
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.content.extend(children.into_iter().map(Node::Element));
        self
    }

    /// A child that holds only a text.
    pub(super) fn field(self, name: &'static str, text: impl Into<String>) -> Self {
        self.child(Self::new(name).text(text))
    }

    /// The document with this element as its root.
    pub(super) fn write(&self) -> Result<String, Unwritable> {
        let mut out = String::new();
        self.write_to(&mut out)?;
        Ok(out)
    }

    fn write_to(&self, out: &mut String) -> Result<(), Unwritable> {
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out)?;
            out.push('"');
        }
        if self.content.is_empty() {
            out.push_str("/>");
            return Ok(());
        }
        out.push('>');
        for node in &self.content {
            match node {
                Node::Element(element) => element.write_to(out)?,
                Node::Text(text) => escape(text, out)?,
            }
        }
        out.push_str("</");
        out.push_str(self.name);
        out.push('>');
        Ok(())
    }
}

/// Writes `text` so that any reader gets back exactly `text`, inside quotes and outside.
fn escape(text: &str, out: &mut String) -> Result<(), Unwritable> {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // Readers turn these into blanks or newlines, where they are not written as references.
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..'\x20' | '\u{fffe}' | '\u{ffff}' => return Err(Unwritable(character)),
            _ => out.push(character),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(text: &str) -> (String, String) {
        let document = Element::new("a").attribute("b", text).text(text).write().unwrap();
        let read = roxmltree::Document::parse(&document).unwrap();
        let root = read.root_element();
        (root.attribute("b").unwrap().to_owned(), root.text().unwrap_or_default().to_owned())
    }

    #[test]
    fn elements_are_written_in_their_order() {
        let element = Element::new("disk")
            .attribute("type", "block")
            .child(Element::new("readonly"))
            .field("name", "a<b")
            .children([Element::new("x"), Element::new("y")]);
        let written = r#"<disk type="block"><readonly/><name>a&lt;b</name><x/><y/></disk>"#;
        assert_eq!(element.write().unwrap(), written);
    }

    #[test]
    fn characters_that_no_xml_can_hold_are_refused() {
        for bad in ['\0', '\x01', '\x1b', '\x1f', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(Element::new("a").text(format!("x{bad}")).write(), Err(Unwritable(bad)));
            assert_eq!(Element::new("a").attribute("b", bad).write(), Err(Unwritable(bad)));
        }
    }

    #[test]
    fn texts_cannot_leave_their_place() {
        for text in ["</a><evil/>", "\" evil=\"", "]]>", "<!-- ", "&amp;", "' x", "a\tb\nc\rd", " both ends ", "é😀"]
        {
            assert_eq!(read_back(text), (text.to_owned(), text.to_owned()));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was_or_refused(text in ".{0,40}") {
            if Element::new("a").text(text.as_str()).write().is_ok() {
                proptest::prop_assert_eq!(read_back(&text), (text.clone(), text));
            }
        }
    }
}
