//! Replies of AWS's query services: small XML documents, read into a tree of names and texts.
//!
//! Attributes, namespaces and comments mean nothing there and are dropped. A reply comes from a network, so its depth and its
//! number of elements are bounded; its length is, before it gets here. Doctypes are refused.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// No reply is nested deeper than a third of this.
const MAX_DEPTH: usize = 32;
/// A page of a thousand images has about fifty elements each.
const MAX_ELEMENTS: usize = 500_000;

/// An element: its name without a prefix, its own text, what is in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Element {
    pub(super) name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// The document's one element; an error says what is wrong with it, as a clause.
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(document).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = Reader::from_str(text);
        // What encloses what is read: the first one is the document itself.
        let mut open = vec![Self::default()];
        let mut elements = 0;
        loop {
            match reader.read_event().map_err(|e| format!("it is not XML: {e}"))? {
                Event::Start(start) => {
                    let name = start.local_name();
                    open.push(Self::named(name.as_ref())?);
                    if open.len() > MAX_DEPTH {
                        return Err(format!("it has more than {MAX_DEPTH} levels"));
                    }
                }
                Event::Empty(start) => {
                    let child = Self::named(start.local_name().as_ref())?;
                    innermost(&mut open)?.children.push(child);
                }
                Event::End(_) => {
                    let done = open.pop().ok_or("an element ends that never began")?;
                    innermost(&mut open)?.children.push(done);
                }
                Event::Text(text) => {
                    let text = text.decode().map_err(|e| e.to_string())?;
                    innermost(&mut open)?.text.push_str(&text);
                }
                Event::CData(text) => {
                    let text = text.decode().map_err(|e| e.to_string())?;
                    innermost(&mut open)?.text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(|e| e.to_string())?;
                    let known = match reference.resolve_char_ref().map_err(|e| e.to_string())? {
                        Some(c) => c.to_string(),
                        None => resolve_predefined_entity(&name)
                            .ok_or_else(|| format!("it names an entity &{name};"))?
                            .to_owned(),
                    };
                    innermost(&mut open)?.text.push_str(&known);
                }
                Event::DocType(_) => return Err("it has a document type".to_owned()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => break,
            }
            elements += 1;
            if elements > MAX_ELEMENTS {
                return Err(format!("it has more than {MAX_ELEMENTS} elements"));
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some(mut document), true) if document.children.len() == 1 => Ok(document.children.remove(0)),
            (Some(_), true) => Err("it has not one element".to_owned()),
            _ => Err("it ends early".to_owned()),
        }
    }

    fn named(name: &[u8]) -> Result<Self, String> {
        let name = std::str::from_utf8(name).map_err(|e| e.to_string())?;
        Ok(Self { name: name.to_owned(), ..Self::default() })
    }

    /// The first child of a name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text at the end of a path of names; none where a name is missing or the text is empty.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        let mut element = self;
        for name in path {
            element = element.child(name)?;
        }
        Some(element.text.trim()).filter(|text| !text.is_empty())
    }

    /// What is in a list: the children of the first child of a name.
    pub(super) fn list(&self, name: &str) -> &[Self] {
        self.child(name).map_or(&[], |list| &list.children)
    }

    /// Whether the text at the end of a path is `true`.
    pub(super) fn is_true(&self, path: &[&str]) -> bool {
        self.text(path) == Some("true")
    }
}

fn innermost(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut().ok_or_else(|| "an element ends that never began".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_tree() {
        let reply = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <DescribeImagesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n  <requestId>59dbff89</requestId>\n\
            <imagesSet><item><imageId>ami-1</imageId><name>a &lt;b&gt; &amp; &#x63;</name><description/></item>\
            <item><imageId>ami-2</imageId><isPublic>true</isPublic></item></imagesSet></DescribeImagesResponse>\n";
        let reply = Element::parse(reply).unwrap();
        assert_eq!(reply.name, "DescribeImagesResponse");
        assert_eq!(reply.text(&["requestId"]), Some("59dbff89"));
        let images = reply.list("imagesSet");
        assert_eq!(images.len(), 2);
        assert_eq!(images[0].text(&["name"]), Some("a <b> & c"));
        assert_eq!(images[0].text(&["description"]), None);
        assert!(images[1].is_true(&["isPublic"]) && !images[0].is_true(&["isPublic"]));
        assert!(reply.list("nothing").is_empty());
        assert_eq!(reply.text(&["imagesSet", "item", "imageId"]), Some("ami-1"));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        for (document, why) in [
            ("", "not one element"),
            ("nothing", "not one element"),
            ("<a>", "ends early"),
            ("<a></b>", "not XML"),
            ("<a/><b/>", "not one element"),
            ("</a>", "not XML"),
            ("<a>&nbsp;</a>", "entity &nbsp;"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "document type"),
            (&deep, "levels"),
        ] {
            let error = Element::parse(document.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{document}: {error}");
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }
}
