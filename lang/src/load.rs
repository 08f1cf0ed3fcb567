//! The way from a path to a resolved pool.

use tycoon_market::PoolName;

use crate::diagnostic::Diagnostic;
use crate::evaluate::check::LiveAssertion;
use crate::evaluate::instance::Children;
use crate::evaluate::output::Shared;
use crate::options::Options;
use crate::pool::{self, Pool};
use crate::resolver::Resolver;
use crate::site::Site;
use crate::source::{FileId, Loader, Sources, Span};
use crate::tree::Component;

/// A description that is sound.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All files that took part.
    pub sources: Sources,
    /// The resolved tree of the pool.
    pub tree: Component,
    /// The same in types of its own.
    pub pool: Pool,
    /// What looks unintended.
    pub warnings: Vec<Diagnostic>,
}

/// A file that is sound, be it a pool or a library.
#[derive(Clone, Debug)]
pub struct Checked {
    /// All files that took part.
    pub sources: Sources,
    /// The names of its pools.
    pub pools: Vec<String>,
    /// Those of them that stand once, resolved to their last value.
    pub resolved: Vec<CheckedPool>,
    /// What else stands at its top: kind and name of its sites and machines.
    pub others: Vec<(String, String)>,
    /// What looks unintended.
    pub warnings: Vec<Diagnostic>,
}

/// A pool of a file that was checked.
#[derive(Clone, Debug)]
pub struct CheckedPool {
    /// Its resolved tree.
    pub tree: Component,
    /// The same in types of its own.
    pub pool: Pool,
}

/// A description of a site that is sound.
#[derive(Clone, Debug)]
pub struct LoadedSite {
    /// All files that took part.
    pub sources: Sources,
    /// The site.
    pub site: Site,
    /// What looks unintended.
    pub warnings: Vec<Diagnostic>,
}

/// A description of a machine that is sound.
#[derive(Clone, Debug)]
pub struct LoadedMachine {
    /// All files that took part.
    pub sources: Sources,
    /// The machine.
    pub machine: crate::machine::Machine,
    /// What looks unintended.
    pub warnings: Vec<Diagnostic>,
}

/// A description that is not.
#[derive(Clone, Debug)]
pub struct Failure {
    /// All files that took part.
    pub sources: Sources,
    /// Everything that is wrong, errors first, then by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// All diagnostics as plain text.
    pub fn to_text(&self) -> String {
        let texts: Vec<String> = self.diagnostics.iter().map(|diagnostic| diagnostic.to_text(&self.sources)).collect();
        texts.join("\n")
    }
}

/// The stack of the thread that resolves: the KDL parser and the evaluator recurse, to bounded depths.
const STACK_BYTES: usize = 256 << 20;

/// Runs work on a stack that is large enough for it. Pages that are not touched cost nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller waits for the one thread, which is there for its stack: a caller's own may have 2 MiB, and the KDL parser aborts the process when it overflows"
)]
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let mut waiting = Some(work);
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("tycoon-lang".into()).stack_size(STACK_BYTES);
        let handle = thread.spawn_scoped(scope, || waiting.take().map(|work| work())).ok()?;
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    match (done, waiting) {
        (Some(result), _) => result,
        // The system refuses a thread of that size: the caller's own stack suffices for all but extreme texts.
        (None, Some(work)) => work(),
        (None, None) => unreachable!("work that has been taken has given its result or its panic"),
    }
}

/// Resolves the pool that the file at `path` describes.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn load(path: &str, loader: &dyn Loader, options: &Options) -> Result<Loaded, Failure> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        let main = resolver.prepare(path);
        resolver.load_pool(main).map(|(loaded, _)| loaded)
    })
}

/// Resolves the pool that the file at `path` describes, to be looked at: also where assertions do not hold, or what it says
/// contradicts itself, which is given beside it.
///
/// # Errors
/// [`Failure`] with everything that is wrong, where there are other errors.
pub fn inspect(path: &str, loader: &dyn Loader, options: &Options) -> Result<(Loaded, Vec<Diagnostic>), Failure> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        resolver.set_assertions_apart();
        let main = resolver.prepare(path);
        resolver.load_pool(main)
    })
}

/// Checks a file, be it a pool or a library: all its pools and templates.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn check(path: &str, loader: &dyn Loader, options: &Options) -> Result<Checked, Failure> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        let main = resolver.prepare(path);
        let resolved = resolver.check_whole(main);
        let pools = resolver.pools(main).into_iter().map(|(_, name)| name).collect();
        let others = resolver.other_components(main);
        if resolver.problems.has_errors() {
            return Err(resolver.failure());
        }
        Ok(Checked { sources: resolver.sources, pools, resolved, others, warnings: resolver.problems.into_sorted() })
    })
}

/// Resolves the site that the file at `path` describes.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn load_site(path: &str, loader: &dyn Loader, options: &Options) -> Result<LoadedSite, Failure> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        let main = resolver.prepare(path);
        let (name, tree, resolver) =
            resolver.load_only(main, "site", "write `site name { xen-host host1; … }`, once")?;
        let site = crate::site::site(&name, &tree);
        Ok(LoadedSite { sources: resolver.sources, site, warnings: resolver.problems.into_sorted() })
    })
}

/// Resolves the machine that the file at `path` describes.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn load_machine(path: &str, loader: &dyn Loader, options: &Options) -> Result<LoadedMachine, Failure> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        let main = resolver.prepare(path);
        let (_, tree, resolver) =
            resolver.load_only(main, "xen-machine", "write `xen-machine name { store …; bridge … }`, once")?;
        let machine = crate::machine::machine(&tree);
        Ok(LoadedMachine { sources: resolver.sources, machine, warnings: resolver.problems.into_sorted() })
    })
}

impl Resolver<'_> {
    /// Reads the main file and what it imports.
    pub(crate) fn prepare(&mut self, path: &str) -> FileId {
        let main = self.read_main(path);
        self.main = Some(main);
        self.add_params(main);
        main
    }

    pub(crate) fn failure(self) -> Failure {
        Failure { sources: self.sources, diagnostics: self.problems.into_sorted() }
    }

    /// Composes and checks everything in a file.
    pub(crate) fn check_file(&mut self, main: FileId, live: &mut Vec<LiveAssertion>) {
        let top = self.file_class(main);
        self.compile_class(top);
        // Those of imports, too, so that the errors of all files come in one run.
        let files: Vec<FileId> =
            self.units.iter().filter(|(_, unit)| !unit.is_standard).map(|(file, _)| *file).collect();
        for file in files {
            self.compose_templates(file);
        }
        if let Ok(root) = self.root_instance(main) {
            self.check_instance(root, live);
        }
        if !self.problems.has_errors() {
            self.unused(main);
        }
    }

    /// Checks a file and every pool in it.
    pub(crate) fn check_whole(&mut self, main: FileId) -> Vec<CheckedPool> {
        let mut live = Vec::new();
        self.check_file(main, &mut live);
        self.build_pools(main, &live)
    }

    /// The pool, and what is wrong with it where that is kept apart.
    fn load_pool(mut self, main: FileId) -> Result<(Loaded, Vec<Diagnostic>), Failure> {
        let mut live = Vec::new();
        self.check_file(main, &mut live);
        let chosen = self.choose_pool(main);
        if self.problems.has_errors() {
            return Err(self.failure());
        }
        let built = chosen.and_then(|(member, name)| self.build_pool(main, member, name, &live));
        match built {
            Some((tree, pool)) => {
                let broken = self.take_broken();
                Ok((Loaded { sources: self.sources, tree, pool, warnings: self.problems.into_sorted() }, broken))
            }
            None => {
                if !self.problems.has_errors() {
                    let top = Span::new(main, 0, 0);
                    let error = Diagnostic::new(
                        "E0604",
                        "the description cannot be resolved, and no reason was found",
                        top,
                        "",
                    );
                    self.report(error.help("this is a defect of Tycoon; please report it with this file"));
                }
                Err(self.failure())
            }
        }
    }

    /// The tree of the only component of a kind at the top of a file, with its name.
    fn load_only(mut self, main: FileId, kind: &str, help: &str) -> Result<(String, Component, Self), Failure> {
        self.check_file(main, &mut Vec::new());
        let found = self.components(main, kind);
        if self.problems.has_errors() {
            return Err(self.failure());
        }
        let [(member, name)] = &found[..] else {
            let count = if found.is_empty() { format!("no {kind}") } else { format!("several {kind}s") };
            let message = format!("the file describes {count}");
            let error = Diagnostic::new("E0504", message, Span::new(main, 0, 0), format!("one `{kind}` is expected"));
            self.report(error.help(help));
            return Err(self.failure());
        };
        match self.single_tree(main, *member, kind) {
            Some(tree) => Ok((name.to_string(), tree, self)),
            None => Err(self.failure()),
        }
    }

    /// The tree of a component at the top of a file that stands there once.
    fn single_tree(&mut self, main: FileId, member: usize, kind: &str) -> Option<Component> {
        let root = self.root_instance(main).ok()?;
        let span = self.class_of(root).members[member].span;
        match self.children(root, member, span).ok()? {
            Children::One(instance) => self.output(instance, &mut Shared::default()).ok(),
            Children::Absent | Children::Many(_) => {
                let error = Diagnostic::new("E0504", format!("a {kind} stands once"), span, "this one does not");
                self.report(error.help("remove its `count`, `each` or `if`"));
                None
            }
        }
    }

    /// The pool to load, and its name.
    fn choose_pool(&mut self, main: FileId) -> Option<(usize, PoolName)> {
        let pools = self.pools(main);
        let names: Vec<&str> = pools.iter().map(|(_, name)| name.as_str()).collect();
        let top = Span::new(main, 0, 0);
        let chosen = match (&self.options.pool, &pools[..]) {
            (Some(wanted), _) => pools.iter().find(|(_, name)| name == wanted),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some((member, name)) = chosen else {
            if self.problems.has_errors() {
                return None;
            }
            let error = match (&self.options.pool, names.len()) {
                (_, 0) => Diagnostic::new("E0504", "the file describes no pool", top, "no `pool` in this file")
                    .help("write `pool name { … }`; a library is checked with `tycoon check`"),
                (Some(wanted), _) => {
                    let message = format!("the file has no pool `{wanted}`");
                    Diagnostic::new("E0504", message, top, "not in this file")
                        .help(format!("choose {}", crate::nearest::alternatives(&names, "or")))
                }
                (None, _) => {
                    Diagnostic::new("E0504", "the file describes several pools", top, "which one?").help(format!(
                        "choose one with `--pool`, or by its name where a command takes names: {}",
                        crate::nearest::alternatives(&names, "or")
                    ))
                }
            };
            self.report(error);
            return None;
        };
        match name.parse::<PoolName>() {
            Ok(parsed) => Some((*member, parsed)),
            Err(error) => {
                let class = self.file_class(main);
                let span = self.class(class).members[*member].span;
                self.report(
                    Diagnostic::new("E0208", error.to_string(), span, "not a name").help("choose another name"),
                );
                None
            }
        }
    }

    fn build_pool(
        &mut self,
        main: FileId,
        member: usize,
        name: PoolName,
        live: &[LiveAssertion],
    ) -> Option<(Component, Pool)> {
        let root = self.root_instance(main).ok()?;
        let span = self.class_of(root).members[member].span;
        let instance = match self.children(root, member, span).ok()? {
            Children::One(instance) => instance,
            Children::Absent | Children::Many(_) => {
                let error = Diagnostic::new("E0504", "a pool stands once", span, "this one does not");
                self.report(error.help("remove its `count`, `each` or `if`"));
                return None;
            }
        };
        let tree = self.output(instance, &mut Shared::default()).ok()?;
        let pool_path = self.instance_path(instance);
        let assertions = live.iter().map(|assertion| {
            let path = self.instance_path(assertion.instance);
            let inside = path.strip_prefix(&pool_path).unwrap_or_default().trim_start_matches('.').to_owned();
            pool::Assertion {
                path: inside,
                condition: std::sync::Arc::clone(&assertion.condition),
                message: assertion.message.as_deref().map(str::to_owned),
            }
        });
        let assertions = assertions.collect();
        let mut pool = pool::build::pool(&tree, name, assertions);
        pool::build::stores(&tree, &mut pool);
        let contradictions = pool::sound::contradictions(&pool);
        match &mut self.broken {
            Some(broken) => contradictions.into_iter().for_each(|error| broken.push(error)),
            None if contradictions.is_empty() => {}
            None => {
                contradictions.into_iter().for_each(|error| self.report(error));
                return None;
            }
        }
        Some((tree, pool))
    }

    /// All pools of a checked file that stand once; what contradicts itself in one is reported.
    pub(crate) fn build_pools(&mut self, main: FileId, live: &[LiveAssertion]) -> Vec<CheckedPool> {
        let mut built = Vec::new();
        for (member, name) in self.pools(main) {
            if self.problems.has_errors() {
                break;
            }
            let (Ok(root), Ok(name)) = (self.root_instance(main), name.parse::<PoolName>()) else { continue };
            let span = self.class_of(root).members[member].span;
            if let Ok(Children::One(_)) = self.children(root, member, span) {
                let pool = self.build_pool(main, member, name, live);
                built.extend(pool.map(|(tree, pool)| CheckedPool { tree, pool }));
            }
        }
        built
    }
}
