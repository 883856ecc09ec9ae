//! A flowchart for Mermaid (mermaid.js.org), which Markdown pages may contain.

use std::fmt::Write as _;

use super::GraphKind;
use super::tree::Tree;
use crate::health::Level;

/// The flowchart.
pub(super) fn draw(tree: &Tree) -> String {
    let mut text = "flowchart LR\n".to_owned();
    let mut count = 0;
    node(tree, None, &mut count, &mut text);
    text.push_str(
        "  classDef warn stroke:#b58900,stroke-width:2px\n  classDef fail stroke:#dc322f,stroke-width:3px\n",
    );
    text
}

fn node(tree: &Tree, parent: Option<usize>, count: &mut usize, text: &mut String) {
    let own = *count;
    *count += 1;
    let lines: Vec<String> =
        std::iter::once(&tree.title).chain(&tree.lines).map(|line| escape(line)).collect();
    let (open, close) = match tree.kind {
        GraphKind::Network => ("([", "])"),
        GraphKind::Container => ("(", ")"),
        _ => ("[", "]"),
    };
    let class = match tree.level {
        Level::Ok => "",
        Level::Warn => ":::warn",
        Level::Fail => ":::fail",
    };
    let _ = writeln!(
        text,
        "  n{own}{open}\"{}<br>{}\"{close}{class}",
        escape(tree.kind.as_str()),
        lines.join("<br>")
    );
    if let Some(parent) = parent {
        let _ = writeln!(text, "  n{parent} --- n{own}");
    }
    for child in &tree.children {
        node(child, Some(own), count, text);
    }
}

/// A text in quotes, where only entities are read: each character that could mean something is one.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        if c.is_alphanumeric() || " ./:-_,".contains(c) {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "#{};", u32::from(c));
        }
        escaped
    })
}
