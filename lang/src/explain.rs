//! Why a value is what it is: everything that was written to it, nearest first.

use std::sync::Arc;

use serde::Serialize;

use crate::compose::choose::deciding;
use crate::compose::layers::{Fragment, Layer};
use crate::compose::{Content, Leaf, LeafState, Priority, Write};
use crate::diagnostic::Diagnostic;
use crate::evaluate::instance::{Children, InstanceId, Key};
use crate::load::{Failure, on_large_stack};
use crate::nearest::{alternatives, nearest};
use crate::options::Options;
use crate::resolver::Resolver;
use crate::source::{FileId, Loader, Sources, Span};
use crate::statement::StatementId;
use crate::value::Value;

/// Everything about one value.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// All files that took part.
    pub sources: Sources,
    /// The path of the value, its pool's name first.
    pub path: String,
    /// The value.
    pub value: Value,
    /// Its declared type.
    pub ty: String,
    /// What its declaration says about it.
    pub doc: Option<String>,
    /// Where it is declared.
    pub declared: Span,
    /// Everything that was written to it, nearest first.
    pub writes: Vec<Explained>,
    /// The way of a live value, the source first.
    pub hops: Vec<(Span, String)>,
    /// The assertions of the description that do not hold.
    pub broken: Vec<Diagnostic>,
}

/// One thing that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Where.
    pub span: Span,
    /// As it stands in the file.
    pub text: String,
    /// The body it stands in: "template `Worker`", "`domain wn`", "kind `domain`".
    pub body: String,
    /// True where it is a default: `(default)`, or the default of a param.
    pub is_default: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of something that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is the value.
    Decides,
    /// Something nearer was written.
    OverriddenBy(Span),
    /// It is a default, and something else was written.
    DefaultNotNeeded,
    /// A `(replace)` emptied it.
    Replaced(Span),
}

/// Explains the value at a path such as `batch.wn.0.memory`; the name of the only pool may be left out. Assertions that do
/// not hold keep nobody from it: values are looked at to find out why.
///
/// # Errors
/// [`Failure`] where the description has other errors, or the path leads to no value.
pub fn explain(path: &str, loader: &dyn Loader, options: &Options, value_path: &str) -> Result<Explanation, Failure> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        resolver.set_assertions_apart();
        let main = resolver.prepare(path);
        resolver.check_file(main, &mut Vec::new());
        if resolver.problems.has_errors() {
            return Err(resolver.failure());
        }
        let broken = resolver.take_broken();
        match resolver.explain(main, value_path) {
            Ok(explanation) => Ok(Explanation { sources: resolver.sources, broken, ..explanation }),
            Err(error) => {
                resolver.report(*error);
                Err(resolver.failure())
            }
        }
    })
}

impl Resolver<'_> {
    fn explain(&mut self, main: FileId, path: &str) -> Result<Explanation, Box<Diagnostic>> {
        let (instance, index) = self.find_value(main, path)?;
        let class = self.instance(instance).class;
        let member = &self.class(class).members[index];
        let declared = member.span;
        let name = self.text(member.name).to_owned();
        let value = self.value(instance, index, declared).map_err(|_| lost(main, path))?;
        let Content::Leaf(Leaf { writes, declaration, state, .. }) = &self.class(class).members[index].content else {
            return Err(lost(main, path));
        };
        let layers = Arc::clone(&self.class(class).layers);
        let winners = match state {
            LeafState::Context => Vec::new(),
            _ => deciding(&layers, writes),
        };
        let mut order: Vec<usize> = (0..writes.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse((writes[*at].layer, *at)));
        let explained = order.into_iter().map(|at| {
            let write = &writes[at];
            let span = self.statements[write.statement].span;
            Explained {
                span,
                text: self.sources.text(span).to_owned(),
                body: self.body_title(&layers, write),
                is_default: write.priority == Priority::Default,
                outcome: self.outcome(&layers, writes, at, winners.contains(&at)),
            }
        });
        let explained = explained.collect();
        let hops = value.first_live().map(|live| live.hops.iter().map(|hop| (hop.span, hop.text.clone())).collect());
        let parent = self.instance_path(instance);
        Ok(Explanation {
            sources: Sources::default(),
            path: if parent.is_empty() { name } else { format!("{parent}.{name}") },
            ty: declaration.as_ref().map_or_else(|| crate::types::Type::of(&value), |d| d.ty.clone()).to_string(),
            doc: declaration.as_ref().and_then(|declaration| declaration.doc.as_deref().map(str::to_owned)),
            value,
            declared,
            writes: explained,
            hops: hops.unwrap_or_default(),
            broken: Vec::new(),
        })
    }

    fn outcome(&self, layers: &[Layer], writes: &[Write], at: usize, decides: bool) -> Outcome {
        if decides {
            return Outcome::Decides;
        }
        let own = &writes[at];
        let nearer = |other: &&Write| layers[other.layer].beneath.contains(own.layer);
        let span = |write: &Write| self.statements[write.statement].span;
        if let Some(replace) = writes.iter().filter(nearer).find(|write| write.is_replace) {
            return Outcome::Replaced(span(replace));
        }
        match writes.iter().filter(nearer).rfind(|write| write.priority == own.priority) {
            Some(other) => Outcome::OverriddenBy(span(other)),
            None => Outcome::DefaultNotNeeded,
        }
    }

    /// What the body is called that wrote something.
    fn body_title(&self, layers: &[Layer], write: &Write) -> String {
        let pieces = &layers[write.layer].pieces;
        let fragment = pieces.iter().map(|piece| piece.fragment).find(|fragment| match fragment {
            Fragment::Body(body) => write.scope == Some(*body),
            Fragment::Tail(statement, _) => write.statement == *statement,
            Fragment::File(_) => write.scope.is_none(),
        });
        match fragment {
            Some(Fragment::File(file)) => self.sources.get(file).name.to_string(),
            Some(Fragment::Tail(statement, _)) => match self.statements[statement].parent {
                Some(body) => self.statement_title(body),
                None => self.sources.get(self.statements[statement].file).name.to_string(),
            },
            Some(Fragment::Body(body)) => self.statement_title(body),
            None => "the text".to_owned(),
        }
    }

    fn statement_title(&self, body: StatementId) -> String {
        let word = self.sources.text(self.statements[body].name_span);
        match self.plain_text(body, 0) {
            Some((name, _)) if matches!(word, "template" | "kind" | "record" | "item") => format!("{word} `{name}`"),
            Some((name, _)) => format!("`{word} {name}`"),
            None => format!("`{word}`"),
        }
    }

    /// The instance and member of a path.
    fn find_value(&mut self, main: FileId, path: &str) -> Result<(InstanceId, usize), Box<Diagnostic>> {
        let mut parts: Vec<&str> = path.split('.').collect();
        let mut at = self.root_instance(main).map_err(|_| lost(main, path))?;
        let pools = self.pools(main);
        let known_at_top = parts.first().is_some_and(|first| {
            let symbol = self.names.known(first);
            symbol.is_some_and(|symbol| self.class_of(at).index.contains_key(&symbol))
        });
        if let ([(_, only)], false) = (&pools[..], known_at_top) {
            parts.insert(0, only);
        }
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            let symbol = self.names.intern(part);
            let Some(index) = self.class_of(at).index.get(&symbol).copied() else {
                return Err(self.no_part(main, at, part));
            };
            let span = self.class_of(at).members[index].span;
            match &self.class_of(at).members[index].content {
                Content::Leaf(_) if parts.peek().is_none() => return Ok((at, index)),
                Content::Leaf(_) => return Err(self.no_part(main, at, part)),
                Content::Items(_) => {
                    let error = Diagnostic::new(
                        "E0205",
                        format!("`{part}` are items; they have no path"),
                        span,
                        "declared here",
                    );
                    return Err(Box::new(error.help("name an attribute of a component or record")));
                }
                Content::Record(_) | Content::Child(_) => {
                    match self.children(at, index, span).map_err(|_| lost(main, path))? {
                        Children::One(child) => at = child,
                        Children::Absent => return Err(self.no_part(main, at, part)),
                        Children::Many(children) => {
                            let wanted = parts.next().unwrap_or_default();
                            let found = children.iter().find(|child| match &self.instance(**child).key {
                                Some(Key::Index(index)) => index.to_string() == wanted,
                                Some(Key::Row(key, _)) => **key == *wanted,
                                None => false,
                            });
                            match found {
                                Some(found) => at = *found,
                                None => {
                                    let message =
                                        format!("`{part}` has {} instances; `{wanted}` is none", children.len());
                                    let error = Diagnostic::new("E0209", message, span, "created here");
                                    return Err(Box::new(error.help(format!("write for example `{part}.0`"))));
                                }
                            }
                        }
                    }
                }
            }
        }
        let title = self.instance_title(at);
        let span = self.class_of(at).created;
        let known = self.leaf_names(at);
        let error = Diagnostic::new("E0205", format!("{title} has many values; which one?"), span, "created here");
        Err(Box::new(error.help(format!("add {}", alternatives(&known, "or")))))
    }

    fn leaf_names(&self, at: InstanceId) -> Vec<String> {
        let members = self.class_of(at).members.iter();
        let leaves = members.filter(|member| !matches!(member.content, Content::Items(_)));
        leaves.map(|member| self.text(member.name).to_owned()).collect()
    }

    fn no_part(&self, main: FileId, at: InstanceId, part: &str) -> Box<Diagnostic> {
        let class = self.class_of(at);
        let known = self.leaf_names(at);
        let span = if class.flavor == crate::compose::Flavor::File { Span::new(main, 0, 0) } else { class.created };
        let error =
            Diagnostic::new("E0205", format!("{} has no `{part}`", self.instance_title(at)), span, "searched here");
        Box::new(match nearest(part, known.iter().map(String::as_str)) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help(format!("it has {}", alternatives(&known, "and"))),
        })
    }
}

fn lost(main: FileId, path: &str) -> Box<Diagnostic> {
    let error = Diagnostic::new("E0205", format!("`{path}` has no value"), Span::new(main, 0, 0), "in this file");
    Box::new(error.help("write the path of an attribute, such as `web.0.memory`"))
}

impl Explanation {
    /// The explanation as plain text, for terminals and tests.
    pub fn to_text(&self) -> String {
        let mut out = format!("{} = {}\n", self.path, self.value);
        let doc = self.doc.as_ref().map(|doc| format!(": {doc}")).unwrap_or_default();
        out.push_str(&format!("  {}, declared at {}{doc}\n", self.ty, self.sources.describe(self.declared)));
        for write in &self.writes {
            let place = self.sources.describe(write.span);
            let outcome = match &write.outcome {
                Outcome::Decides => "decides".to_owned(),
                Outcome::OverriddenBy(span) => format!("overridden at {}", self.sources.describe(*span)),
                Outcome::DefaultNotNeeded => "a default, not needed".to_owned(),
                Outcome::Replaced(span) => format!("emptied by `(replace)` at {}", self.sources.describe(*span)),
            };
            out.push_str(&format!("  {place}: {} in {}: {outcome}\n", write.text, write.body));
        }
        if self.writes.is_empty() {
            out.push_str("  nobody wrote it\n");
        }
        for (span, text) in &self.hops {
            out.push_str(&format!("  live, {}: {text}\n", self.sources.describe(*span)));
        }
        out
    }
}
