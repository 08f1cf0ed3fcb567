//! What the caller may set, and the limits of everything that is read.

/// What the name of a variable begins with that sets a param: `TYCOON_PARAM_HEAD_MEMORY` sets `head-memory`.
pub const PARAM_VARIABLE: &str = "TYCOON_PARAM_";

/// How a description is loaded. `Options::default()` is right for nearly everybody.
#[derive(Clone, Debug)]
pub struct Options {
    /// Values for the main file's params, as from a command line: name and text. They win over those of files.
    pub params: Vec<(String, String)>,
    /// Files with values for the main file's params, as the loader knows them; later ones win over earlier ones.
    pub params_files: Vec<String>,
    /// Variables of the environment whose name begins with [`PARAM_VARIABLE`], and their values: they set params
    /// where neither a file nor the command line does.
    pub environment: Vec<(String, String)>,
    /// The pool to load where the file has several.
    pub pool: Option<String>,
    /// Lets imports reach outside the directory of the importing file.
    pub allow_outside_imports: bool,
    /// The deepest nesting of braces, of comments, and of components.
    pub max_depth: usize,
    /// The largest file, in bytes.
    pub max_file_bytes: usize,
    /// The largest number of imported files.
    pub max_imports: usize,
    /// The largest number of components, records and items after `count` and `each`.
    pub max_instances: usize,
    /// The largest number of evaluation steps.
    pub max_steps: u64,
    /// The longest chain of values that wait for each other.
    pub max_chain: usize,
    /// The largest number of diagnostics that are kept.
    pub max_diagnostics: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            params: Vec::new(),
            params_files: Vec::new(),
            environment: Vec::new(),
            pool: None,
            allow_outside_imports: false,
            max_depth: 128,
            max_file_bytes: 16 << 20,
            max_imports: 1_000,
            max_instances: 1_000_000,
            max_steps: 100_000_000,
            max_chain: 1_000,
            max_diagnostics: 200,
        }
    }
}
