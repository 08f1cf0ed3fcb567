//! How much of what comes from the network is read at all.

/// Bounds on one request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body in bytes.
    pub body_bytes_max: usize,
    /// The largest path and query together in bytes.
    pub target_bytes_max: usize,
    /// The largest number of header fields.
    pub headers_max: usize,
    /// The largest sum of the lengths of all header names and values in bytes.
    pub header_bytes_max: usize,
}

impl Limits {
    /// The limits that services and callers use unless told otherwise: 1 MiB bodies, 4 KiB targets.
    pub const DEFAULT: Self =
        Self { body_bytes_max: 1 << 20, target_bytes_max: 4096, headers_max: 64, header_bytes_max: 16 << 10 };

    /// What exceeds the limits, in words; `None` for a message within them.
    pub fn excess(&self, headers: &http::HeaderMap, body: &[u8]) -> Option<String> {
        if body.len() > self.body_bytes_max {
            return Some(format!("the body has {} bytes; at most {} are read", body.len(), self.body_bytes_max));
        }
        self.excess_of_headers(headers)
    }

    /// What of a request's target and header fields exceeds the limits, in words.
    pub fn excess_of_head(&self, target: &http::Uri, headers: &http::HeaderMap) -> Option<String> {
        let bytes = target.path_and_query().map_or(0, |target| target.as_str().len());
        let most = self.target_bytes_max;
        let too_long =
            (bytes > most).then(|| format!("the path and query have {bytes} bytes; at most {most} are read"));
        too_long.or_else(|| self.excess_of_headers(headers))
    }

    fn excess_of_headers(&self, headers: &http::HeaderMap) -> Option<String> {
        if headers.len() > self.headers_max {
            return Some(format!("there are {} header fields; at most {} are read", headers.len(), self.headers_max));
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        (bytes > self.header_bytes_max)
            .then(|| format!("the header fields have {bytes} bytes; at most {} are read", self.header_bytes_max))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
