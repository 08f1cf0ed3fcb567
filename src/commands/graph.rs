//! `tycoon graph`: the components of a pool and the order in which they start.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use serde_json::json;
use tycoon_lang::Loaded;
use tycoon_lang::tree::{Component, NodeKind};

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon graph`.
#[derive(Args, Debug)]
pub struct GraphArgs {
    #[command(flatten)]
    description: DescriptionArgs,
    /// The form of the graph; svg needs graphviz
    #[arg(long, value_enum, default_value_t = Format::Dot)]
    format: Format,
}

/// The form of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Dot,
    Svg,
}

/// The nodes and edges of a graph.
#[derive(Default)]
struct Graph {
    /// Path, kind and label.
    nodes: Vec<(String, String, String)>,
    /// Container and content.
    contains: Vec<(String, String)>,
    /// First and later.
    starts_before: Vec<(String, String)>,
}

/// Prints the graph, also where assertions do not hold, which the exit code tells.
pub fn run(arguments: &GraphArgs, output: &Output) -> Result<Exit, Failure> {
    let (loaded, broken) = description::inspect(&arguments.description, output)?;
    let graph = graph(&loaded);
    if output.json {
        let edges = |edges: &[(String, String)]| edges.iter().map(|(a, b)| json!([a, b])).collect::<Vec<_>>();
        let mut value = json!({
            "nodes": graph.nodes.iter().map(|(path, kind, _)| json!({ "path": path, "kind": kind })).collect::<Vec<_>>(),
            "contains": edges(&graph.contains),
            "starts_before": edges(&graph.starts_before),
        });
        description::add_broken(&mut value, &loaded.sources, &broken);
        output.print_json(&value);
        return Ok(description::exit_of(&broken));
    }
    let dot = dot(&graph);
    output.print(&if arguments.format == Format::Svg { svg(&dot)? } else { dot });
    Ok(description::exit_of(&broken))
}

fn graph(loaded: &Loaded) -> Graph {
    let mut graph = Graph::default();
    let root = loaded.pool.name.to_string();
    graph.nodes.push((root.clone(), "pool".into(), root.clone()));
    visit(&mut graph, &loaded.tree, &root);
    for domain in &loaded.pool.domains {
        for first in &domain.start_after {
            graph.starts_before.push((format!("{root}.{}", first.path), format!("{root}.{}", domain.path)));
        }
    }
    graph
}

fn visit(graph: &mut Graph, parent: &Component, path: &str) {
    for child in parent.children.iter().filter(|child| child.node == NodeKind::Component) {
        let own = format!("{path}.{}", child.label());
        graph.nodes.push((own.clone(), child.kind.to_string(), child.label()));
        graph.contains.push((path.to_owned(), own.clone()));
        visit(graph, child, &own);
    }
}

fn dot(graph: &Graph) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("digraph pool {\n    rankdir=LR;\n    node [shape=box];\n");
    for (path, kind, label) in &graph.nodes {
        let _ = writeln!(text, "    {} [label={}];", quoted(path), quoted(&format!("{kind} {label}")));
    }
    for (container, content) in &graph.contains {
        let _ = writeln!(text, "    {} -> {};", quoted(container), quoted(content));
    }
    for (first, later) in &graph.starts_before {
        let _ = writeln!(text, "    {} -> {} [style=dashed, label=\"starts before\"];", quoted(first), quoted(later));
    }
    text.push_str("}\n");
    text
}

fn svg(dot: &str) -> Result<String, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error)
            .context("graphviz cannot draw the graph")
            .help("install it (`apt install graphviz`), or take `--format dot`")
    };
    let mut child = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut input = child.stdin.take();
    let text = dot.to_owned();
    // Written from another thread: a graph may be larger than what a pipe holds.
    let writer = std::thread::spawn(move || input.as_mut().map_or(Ok(()), |input| input.write_all(text.as_bytes())));
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    let written = writer.join().unwrap_or(Ok(()));
    written.map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(Failure::new(Exit::Failed, "graphviz cannot draw the graph"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
