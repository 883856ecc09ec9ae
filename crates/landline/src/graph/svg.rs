//! A picture that needs nothing else (SVG 1.1), for light and dark surroundings.

use std::fmt::Write as _;

use super::GraphKind;
use super::tree::Tree;
use crate::health::Level;

/// The distance between columns, between nodes and from the edge, and the height of a line, in pixels.
const COLUMN_GAP: usize = 56;
const ROW_GAP: usize = 12;
const EDGE: usize = 20;
const LINE: usize = 17;
/// The space above and below the lines of a node together, and left and right of them together.
const PADDING_Y: usize = 18;
const PADDING_X: usize = 28;
/// How wide a character is at most, on the average.
const CHARACTER: usize = 8;
/// The longest line that is drawn, in characters.
const LONGEST: usize = 48;

const STYLE: &str = "\
text{font:13px system-ui,'Segoe UI',Roboto,'Helvetica Neue',sans-serif;fill:#1f2933}\
.kind{font-size:10px;fill:#66788a;letter-spacing:.06em}\
.title{font-weight:600}\
.line{font-size:12px;fill:#3e4c59}\
.page{fill:#fff}\
.box{fill:#f7f9fb;stroke:#9aa5b1}\
.host .box{fill:#e4e7eb;stroke:#52606d}\
.link .box{fill:#e6f0fb;stroke:#4a7fb5}\
.network .box{fill:#e7f5ec;stroke:#3f8f5f}\
.container .box{fill:#fff;stroke:#7b8794}\
.nat .box,.shim .box{fill:#f3ecfa;stroke:#8a63b3}\
.warn .box{stroke:#b7791f;stroke-width:2.5}\
.fail .box{stroke:#c53030;stroke-width:2.5}\
.edge{fill:none;stroke:#9aa5b1;stroke-width:1.5}\
@media(prefers-color-scheme:dark){\
text{fill:#e4e7eb}.kind{fill:#9aa5b1}.line{fill:#cbd2d9}\
.page{fill:#12181f}.box{fill:#1f2933;stroke:#616e7c}\
.host .box{fill:#323f4b;stroke:#9aa5b1}\
.link .box{fill:#16324d;stroke:#5b9bd5}\
.network .box{fill:#163526;stroke:#57b583}\
.container .box{fill:#1a222b;stroke:#7b8794}\
.nat .box,.shim .box{fill:#2e2140;stroke:#a98bd0}\
.warn .box{stroke:#ecc94b}.fail .box{stroke:#fc8181}\
.edge{stroke:#616e7c}}";

/// A node with its place.
struct Placed<'a> {
    tree: &'a Tree,
    x: usize,
    /// The middle of its height.
    y: usize,
    children: Vec<Self>,
}

/// The picture.
pub(super) fn draw(tree: &Tree) -> String {
    let mut widths = Vec::new();
    measure(tree, 0, &mut widths);
    let mut columns = vec![EDGE];
    for width in &widths {
        columns.push(columns.last().copied().unwrap_or_default() + width + COLUMN_GAP);
    }
    let mut bottom = EDGE;
    let placed = place(tree, 0, &columns, &mut bottom);
    let width = columns.last().copied().unwrap_or_default() - COLUMN_GAP + EDGE;
    let height = bottom - ROW_GAP + EDGE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n",
        escape(&format!("The networks and containers of {}", tree.title))
    );
    edges(&placed, 0, &widths, &mut text);
    nodes(&placed, 0, &widths, &mut text);
    text.push_str("</svg>\n");
    text
}

/// The lines of a node: its title and what else there is to say, each of a bearable length.
fn lines(tree: &Tree) -> impl Iterator<Item = String> {
    std::iter::once(&tree.title).chain(&tree.lines).map(|line| {
        let long = line.chars().count() > LONGEST;
        let mut short: String = line.chars().take(if long { LONGEST - 1 } else { LONGEST }).collect();
        short.extend(long.then_some('…'));
        short
    })
}

fn height(tree: &Tree) -> usize {
    (tree.lines.len() + 2) * LINE + PADDING_Y
}

/// How wide each column must be.
fn measure(tree: &Tree, depth: usize, widths: &mut Vec<usize>) {
    let longest = lines(tree).map(|line| line.chars().count()).max().unwrap_or_default();
    let width = longest.max(tree.kind.as_str().len()) * CHARACTER + PADDING_X;
    match widths.get_mut(depth) {
        Some(widest) => *widest = width.max(*widest),
        None => widths.push(width),
    }
    for child in &tree.children {
        measure(child, depth + 1, widths);
    }
}

/// Leaves stand below each other, and each other node in the middle of what is below it.
fn place<'a>(tree: &'a Tree, depth: usize, columns: &[usize], bottom: &mut usize) -> Placed<'a> {
    let (top, own) = (*bottom, height(tree));
    let children: Vec<Placed<'a>> =
        tree.children.iter().map(|child| place(child, depth + 1, columns, bottom)).collect();
    let y = match (children.first(), children.last()) {
        (Some(first), Some(last)) => usize::midpoint(first.y, last.y).max(top + own / 2),
        _ => top + own / 2,
    };
    *bottom = (*bottom).max(y + own.div_ceil(2) + ROW_GAP);
    Placed { tree, x: columns.get(depth).copied().unwrap_or(EDGE), y, children }
}

fn edges(placed: &Placed<'_>, depth: usize, widths: &[usize], text: &mut String) {
    let from = placed.x + widths.get(depth).copied().unwrap_or_default();
    for child in &placed.children {
        let middle = usize::midpoint(from, child.x);
        let (y, to_x, to_y) = (placed.y, child.x, child.y);
        let _ = writeln!(
            text,
            "<path class=\"edge\" d=\"M{from} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}\"/>"
        );
        edges(child, depth + 1, widths, text);
    }
}

fn nodes(placed: &Placed<'_>, depth: usize, widths: &[usize], text: &mut String) {
    let tree = placed.tree;
    let class = match tree.kind {
        GraphKind::Host => "host",
        GraphKind::Nic | GraphKind::Bridge | GraphKind::Vlan | GraphKind::Switch => "link",
        GraphKind::Network => "network",
        GraphKind::Container => "container",
        GraphKind::Nat => "nat",
        GraphKind::Shim => "shim",
    };
    let level = match tree.level {
        Level::Ok => "",
        Level::Warn => " warn",
        Level::Fail => " fail",
    };
    let (x, own) = (placed.x, height(tree));
    let (top, width) = (placed.y - own / 2, widths.get(depth).copied().unwrap_or_default());
    let _ = writeln!(
        text,
        "<g class=\"{class}{level}\"><rect class=\"box\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{own}\" rx=\"7\"/>"
    );
    let (inner, mut y) = (x + PADDING_X / 2, top + PADDING_Y / 2 + LINE - 4);
    let _ = writeln!(text, "<text class=\"kind\" x=\"{inner}\" y=\"{y}\">{}</text>", tree.kind.as_str());
    for (at, line) in lines(tree).enumerate() {
        y += LINE;
        let class = if at == 0 { "title" } else { "line" };
        let _ = writeln!(text, "<text class=\"{class}\" x=\"{inner}\" y=\"{y}\">{}</text>", escape(&line));
    }
    text.push_str("</g>\n");
    for child in &placed.children {
        nodes(child, depth + 1, widths, text);
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
