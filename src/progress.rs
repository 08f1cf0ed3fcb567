//! Shows what happens while a plan is carried out: a line per domain on a terminal, a line per event elsewhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tycoon_executor::journal::Outcome;
use tycoon_executor::progress::{Event, Observer};
use tycoon_planner::plan::{Action, Change, Plan, Step, StepId};
use tycoon_xen::spec::DomainPath;

use crate::output::{Output, Style};
use crate::saved_view::{Pace, percents};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Shows progress on stderr.
pub struct Progress {
    output: Output,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bars: Option<MultiProgress>,
    domains: BTreeMap<DomainPath, Domain>,
}

struct Domain {
    host: String,
    /// The steps of this domain that are not done yet.
    open: Vec<StepId>,
    verb: &'static str,
    bar: Option<ProgressBar>,
    /// Since its root disk is being saved.
    saving: Option<Pace>,
}

impl Progress {
    /// Progress for this output.
    pub fn new(output: &Output) -> Self {
        Self { output: output.clone(), state: Mutex::default() }
    }

    fn begin(&self, state: &mut State, plan: &Plan) {
        let bars = self.output.can_move.then(MultiProgress::new);
        for domain in &plan.domains {
            let verb = match &domain.change {
                Change::Keep => continue,
                Change::Create | Change::TakeUp { .. } | Change::Start { .. } => "up",
                Change::Update { .. } => "changed",
                Change::Replace { .. } => "replaced",
                Change::Remove => "removed",
            };
            let is_its = |step: &&Step| step.action.domain() == Some(&domain.path);
            let open = plan.steps.iter().filter(is_its).map(|step| step.id).collect();
            let bar = bars.as_ref().map(|bars| {
                let bar = bars.add(ProgressBar::new_spinner().with_style(style()));
                bar.set_prefix(domain.path.to_string());
                bar.set_message("waiting");
                bar.enable_steady_tick(TICK);
                bar
            });
            let host = domain.host_name.to_string();
            state.domains.insert(domain.path.clone(), Domain { host, open, verb, bar, saving: None });
        }
        state.bars = bars;
    }

    fn step_begun(state: &mut State, step: &Step) {
        let domain = step.action.domain().and_then(|path| state.domains.get(path));
        if let Some(bar) = domain.and_then(|domain| domain.bar.as_ref()) {
            bar.set_message(what(&step.action));
        }
    }

    fn step_ended(&self, state: &mut State, step: &Step, outcome: &Outcome) {
        let Some(path) = step.action.domain() else { return };
        let Some(domain) = state.domains.get_mut(path) else { return };
        let line = match outcome {
            Outcome::Done { .. } => {
                domain.open.retain(|open| *open != step.id);
                if !domain.open.is_empty() {
                    return;
                }
                done_line(path, domain, self.output.stderr)
            }
            Outcome::Failed { .. } | Outcome::Skipped => {
                domain.open.clear();
                return finish(domain, "not done");
            }
        };
        match &domain.bar {
            Some(bar) => {
                bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.finish_with_message(line);
            }
            None => self.output.message(&line),
        }
    }

    fn line(&self, state: &State, text: &str) {
        match &state.bars {
            Some(bars) => drop(bars.println(text)),
            None => self.output.message(text),
        }
    }
}

fn done_line(path: &DomainPath, domain: &Domain, style: Style) -> String {
    let place = if domain.verb == "removed" { "from" } else { "on" };
    format!("{} {path} {} {place} {}", style.green("✓"), domain.verb, domain.host)
}

fn finish(domain: &Domain, text: &'static str) {
    if let Some(bar) = &domain.bar {
        bar.abandon_with_message(text);
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// What is being done with a domain.
fn what(action: &Action) -> &'static str {
    match action {
        Action::EnsureVolumes { .. } => "making its disks",
        Action::EnsureDomain { .. } => "defining",
        Action::EnsureRunning { .. } => "starting",
        Action::EnsureListening { .. } => "waiting for",
        Action::EnsureStopped { .. } => "stopping",
        Action::SaveImage { .. } => "saving its root disk",
        Action::EnsureAbsent { .. } => "removing",
        _ => "preparing",
    }
}

impl Observer for Progress {
    fn observe(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PlanBegun { plan } => self.begin(&mut state, plan),
            Event::StepBegun { step } => Self::step_begun(&mut state, step),
            Event::StepRetried { step, error, attempt } => {
                self.line(&state, &format!("{}: {error}; trying again ({attempt})", step.action.describe()));
            }
            Event::StepEnded { step, outcome } => self.step_ended(&mut state, step, outcome),
            Event::Stopping => {
                self.line(&state, "stopping: finishing what has begun; press Ctrl-C again to leave at once")
            }
            Event::Saving { path, bytes, total_bytes } => {
                if let Some(domain) = state.domains.get_mut(*path) {
                    let pace = domain.saving.get_or_insert_with(Pace::new);
                    match &domain.bar {
                        Some(bar) => {
                            bar.set_message(format!("saving its root disk, {} %", percents(*bytes, *total_bytes)))
                        }
                        None => {
                            if let Some(percents) = pace.percents(*bytes, *total_bytes) {
                                self.output.message(&format!("saving the root disk of {path}: {percents} %"));
                            }
                        }
                    }
                }
            }
            Event::Saved { saved } => {
                if let Some(why) = &saved.instead {
                    let (path, file) = (&saved.manifest.subject.domain, saved.path.display());
                    let text = format!(
                        "note: {path} is saved as its blocks, in {file}: of its files no archive can be made ({why})"
                    );
                    self.line(&state, &text);
                }
            }
            Event::Note { text } => self.line(&state, &format!("note: {text}")),
        }
    }
}
