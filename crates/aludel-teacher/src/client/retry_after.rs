//! How long a server asks to wait: `retry-after-ms`, and `Retry-After` in seconds or as a date (RFC 9110, sections 5.6.7 and
//! 10.2.3).

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The wait that the headers ask for. A date is relative to the server's own clock if the response has a date, otherwise to `now`.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    if let Some(wait) = text("retry-after-ms").and_then(seconds) {
        return Some(wait / 1000);
    }
    let after = text(RETRY_AFTER.as_str())?;
    seconds(after).or_else(|| {
        let date = |text| httpdate::parse_http_date(text).ok();
        let from = text(DATE.as_str()).and_then(date).unwrap_or(now);
        Some(date(after)?.duration_since(from).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn waits() {
        let check = |pairs: &[(&'static str, &str)], expected: Option<u64>| {
            let headers: HeaderMap =
                pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_millis), "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "7")], Some(7_000));
        check(&[("retry-after", "0.5")], Some(500));
        check(&[("retry-after", "7"), ("retry-after-ms", "250")], Some(250));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(7_000));
        check(
            &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), ("date", "Sun, 06 Nov 1994 08:49:35 GMT")],
            Some(2_000),
        );
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0));
        for bad in ["-1", "NaN", "soon", "1e300", "Sun, 06 Nov 1994", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            check(&[("retry-after", bad)], None);
        }
    }
}
