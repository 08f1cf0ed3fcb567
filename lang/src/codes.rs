//! Every code with what it means: for `docs/errors.md` and for `tycoon explain E0203`.

/// A code and its explanation.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The code, for example `E0201`.
    pub code: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What it means and why it is so.
    pub explanation: &'static str,
    /// A description that has it.
    pub example: &'static str,
    /// The same, cured.
    pub cure: &'static str,
}

macro_rules! stub { ($($c:literal)*) => { &[$(Code { code: $c, title: "", explanation: "", example: "", cure: "" },)*] } }

/// All codes in order.
pub const CODES: &[Code] = stub!("E0101" "E0102" "E0103" "E0104" "E0105" "E0106" "E0107" "E0108" "E0109" "E0110" "E0111" "E0112" "E0201" "E0202" "E0203" "E0204" "E0205" "E0206" "E0207" "E0208" "E0209" "E0210" "E0211" "E0212" "E0301" "E0302" "E0303" "E0304" "E0305" "E0306" "E0401" "E0402" "E0403" "E0404" "E0405" "E0406" "E0407" "E0408" "E0409" "E0410" "E0411" "E0412" "E0413" "E0501" "E0503" "E0504" "E0506" "E0601" "E0602" "E0603" "W0001");

/// The code of a name.
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|known| known.code == code)
}
