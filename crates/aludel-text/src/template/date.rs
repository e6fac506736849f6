//! The date that a template may ask for. The caller gives it: a date from the clock would make training rows differ
//! from day to day.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A day of the Gregorian calendar, at midnight. Written as `2026-11-26`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    /// The year.
    pub year: i32,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Date {
    /// The day (in UTC) of a Unix time.
    pub fn from_unix_seconds(seconds: i64) -> Date {
        // Days are counted in years that begin in March, so that the leap day is a year's last.
        let days = seconds.div_euclid(86_400) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Date {
            year: (year_of_era + era * 400 + i64::from(month <= 2)) as i32,
            month: month as u8,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u8,
        }
    }

    /// Fills in a `strftime` format.
    ///
    /// # Errors
    /// The directive that is not known.
    pub(super) fn format(self, format: &str) -> Result<String, String> {
        let month = MONTHS[(usize::from(self.month.max(1)) - 1) % 12];
        let weekday = WEEKDAYS[self.weekday()];
        let mut text = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            let mut directive = letters.next();
            let unpadded = directive == Some('-');
            if unpadded {
                directive = letters.next();
            }
            let number = |value: u32, width: usize| {
                if unpadded { value.to_string() } else { format!("{value:0width$}") }
            };
            text.push_str(&match directive {
                Some('Y') => self.year.to_string(),
                Some('y') => number(self.year.rem_euclid(100) as u32, 2),
                Some('m') => number(u32::from(self.month), 2),
                Some('d') => number(u32::from(self.day), 2),
                Some('j') => number(self.day_of_year(), 3),
                Some('e') => format!("{:2}", self.day),
                Some('B') => month.to_owned(),
                Some('b' | 'h') => month[..3].to_owned(),
                Some('A') => weekday.to_owned(),
                Some('a') => weekday[..3].to_owned(),
                Some('H' | 'M' | 'S') => number(0, 2),
                Some('F') => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
                Some('%') => "%".to_owned(),
                other => return Err(format!("%{}", other.map_or_else(String::new, String::from))),
            });
        }
        Ok(text)
    }

    /// Midnight, in seconds of Unix time.
    fn unix_seconds(self) -> i64 {
        self.days_since_epoch() * 86_400
    }

    fn days_since_epoch(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let march_month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    fn weekday(self) -> usize {
        // 1 January 1970 was a Thursday.
        (self.days_since_epoch() + 3).rem_euclid(7) as usize
    }

    fn day_of_year(self) -> u32 {
        let new_year = Date { month: 1, day: 1, ..self };
        (self.days_since_epoch() - new_year.days_since_epoch() + 1) as u32
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = String;

    /// Reads `2026-11-26`, and no day that there is not.
    fn from_str(text: &str) -> Result<Date, String> {
        let wrong = || format!("{text:?} is no day; write it as 2026-11-26");
        let is_shaped = text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
        let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u16>().ok());
        let (Some(year), Some(month), Some(day), true) = (number(0, 4), number(5, 7), number(8, 10), is_shaped) else {
            return Err(wrong());
        };
        let date = Date { year: year.into(), month: month as u8, day: day as u8 };
        let is_real = (1..=12).contains(&date.month) && Date::from_unix_seconds(date.unix_seconds()) == date;
        if is_real { Ok(date) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Date, String> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_days_are_days_that_there_are() {
        let parsed: Date = "2024-02-29".parse().unwrap();
        assert_eq!((parsed, parsed.to_string().as_str()), (Date { year: 2024, month: 2, day: 29 }, "2024-02-29"));
        for wrong in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "24-01-01",
            "2024-1-1",
            "2024/01/01",
            "+024-01-01",
            "",
            "2024-01-01T",
        ] {
            let error = wrong.parse::<Date>().expect_err(wrong);
            assert!(error.contains("2026-11-26"), "{error}");
        }
    }

    #[test]
    fn days_and_formats() {
        let check = |seconds: i64, expected: &str| {
            let date = Date::from_unix_seconds(seconds);
            assert_eq!(date.format("%A %a %d %b %B %Y %y %j %-d %m %H:%M %%").as_deref(), Ok(expected), "{seconds}");
            assert_eq!(Date::from_unix_seconds(date.days_since_epoch() * 86_400), date);
        };
        check(0, "Thursday Thu 01 Jan January 1970 70 001 1 01 00:00 %");
        check(951_782_400, "Tuesday Tue 29 Feb February 2000 00 060 29 02 00:00 %");
        check(1_735_689_599, "Tuesday Tue 31 Dec December 2024 24 366 31 12 00:00 %");
        check(-1, "Wednesday Wed 31 Dec December 1969 69 365 31 12 00:00 %");
        assert_eq!(Date::from_unix_seconds(0).format("%Q"), Err("%Q".to_owned()));
    }
}
