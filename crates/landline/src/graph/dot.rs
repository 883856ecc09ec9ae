//! A graph for Graphviz (dot(1)).

use std::fmt::Write as _;

use super::GraphKind;
use super::tree::Tree;
use crate::health::Level;

/// The graph.
pub(super) fn draw(tree: &Tree) -> String {
    let mut text =
        "graph landline {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
            .to_owned();
    let mut count = 0;
    node(tree, None, &mut count, &mut text);
    text.push_str("}\n");
    text
}

fn node(tree: &Tree, parent: Option<usize>, count: &mut usize, text: &mut String) {
    let own = *count;
    *count += 1;
    let lines: Vec<String> = [&*format!("{} {}", tree.kind.as_str(), tree.title)]
        .into_iter()
        .chain(tree.lines.iter().map(|line| &**line))
        .map(escape)
        .collect();
    let shape = match tree.kind {
        GraphKind::Network => ", shape=ellipse",
        _ => "",
    };
    let colour = match tree.level {
        Level::Ok => "",
        Level::Warn => ", color=orange, penwidth=2",
        Level::Fail => ", color=red, penwidth=2",
    };
    let _ = writeln!(text, "  n{own} [label=\"{}\"{shape}{colour}];", lines.join("\\n"));
    if let Some(parent) = parent {
        let _ = writeln!(text, "  n{parent} -- n{own};");
    }
    for child in &tree.children {
        node(child, Some(own), count, text);
    }
}

/// A text in quotes: a backslash would begin an escape of dot's.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
