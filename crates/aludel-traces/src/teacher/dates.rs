//! How long a server asks to wait: `retry-after-ms`, and `Retry-After` in seconds or as a date (RFC 9110, sections 5.6.7 and
//! 10.2.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The wait that the headers ask for. A date is counted from the server's own clock where it shows it, otherwise from `now`.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    if let Some(wait) = text("retry-after-ms").and_then(seconds) {
        return Some(wait / 1000);
    }
    let after = text(RETRY_AFTER.as_str())?;
    seconds(after).or_else(|| {
        let from = text(DATE.as_str())
            .and_then(seconds_of_date)
            .unwrap_or_else(|| now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()));
        Some(Duration::from_secs(seconds_of_date(after)?.saturating_sub(from)))
    })
}

/// Seconds since 1970 of a date like `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of_date(text: &str) -> Option<u64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month_name = words.next()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|&name| name == month_name)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|&part| part <= 60));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" {
        return None;
    }
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in =
        |month: u64| [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize];
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let days = years + (0..month).map(days_in).sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds are GNU date's.
    #[test]
    fn dates() {
        assert_eq!(seconds_of_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(seconds_of_date("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        for bad in
            ["", "tomorrow", "Sun, 06 Nov 1994", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 99:49:37 GMT"]
        {
            assert_eq!(seconds_of_date(bad), None, "{bad:?}");
        }
    }

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
        for bad in ["-1", "NaN", "soon", "1e300"] {
            check(&[("retry-after", bad)], None);
        }
    }
}
