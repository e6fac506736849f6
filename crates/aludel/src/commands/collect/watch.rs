//! The live table of endpoints: `trace --watch` on a terminal. It only draws; the collection loop supplies the values.

use super::progress_text::pace;
use crate::console::harmless;
use crate::humanize::duration;
use aludel_teacher::collect::{EndpointProgress, EndpointStatus, Progress};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::{execute, terminal};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Stylize as _;
use ratatui::widgets::{Gauge, Paragraph, Row, Table};
use ratatui::{Frame, backend::Backend};
use std::collections::VecDeque;
use std::io::{self, Stderr};

/// Notices that stay in view.
const NOTES: usize = 5;

/// A terminal whose other screen holds the table, until it is ended or dropped.
pub(super) struct Watch {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    notes: VecDeque<String>,
}

impl Watch {
    /// Keys stay with the terminal's own handling, so that Ctrl-C remains what it is.
    pub(super) fn start() -> io::Result<Watch> {
        execute!(io::stderr(), terminal::EnterAlternateScreen)?;
        Ok(Watch { terminal: Terminal::new(CrosstermBackend::new(io::stderr()))?, notes: VecDeque::new() })
    }

    pub(super) fn note(&mut self, line: &str) {
        self.notes.push_back(line.to_owned());
        while self.notes.len() > NOTES {
            self.notes.pop_front();
        }
    }

    pub(super) fn draw(&mut self, progress: &Progress) {
        // A picture that cannot be drawn is no reason to end a run.
        let _ = draw(&mut self.terminal, progress, &self.notes);
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.terminal.show_cursor()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = execute!(io::stderr(), terminal::LeaveAlternateScreen);
    }
}

fn draw<B: Backend>(terminal: &mut Terminal<B>, progress: &Progress, notes: &VecDeque<String>) -> Result<(), B::Error> {
    terminal.draw(|frame| picture(frame, progress, notes)).map(|_| ())
}

fn picture(frame: &mut Frame<'_>, progress: &Progress, notes: &VecDeque<String>) {
    let rows = progress.endpoints.len() as u16 + 1;
    let parts = [1, 1, 1, rows, 1, NOTES as u16].map(Constraint::Length);
    let [bar, line, _, table, _, below] = Layout::vertical(parts).areas(frame.area());
    let settled = progress.done + progress.failed;
    let share = settled as f64 / progress.wanted.max(1) as f64;
    let label = format!("{settled} of {}", progress.wanted);
    frame.render_widget(Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label), bar);
    let facts = format!(
        "{} cut off, {} on their way, {} waiting; {}; {} so far",
        progress.cut,
        progress.in_flight,
        progress.waiting,
        pace(progress),
        duration(progress.seconds)
    );
    frame.render_widget(Paragraph::new(facts), line);
    let longest = progress.endpoints.iter().map(|endpoint| endpoint.name.chars().count()).max().unwrap_or(0);
    let widths = [
        Constraint::Length((longest as u16).min(frame.area().width / 3)),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let head = Row::new(["endpoint", "is", "at once", "answers", "failures", "last failure"]).bold();
    frame.render_widget(Table::new(progress.endpoints.iter().map(row), widths).header(head), table);
    frame.render_widget(Paragraph::new(notes.iter().cloned().collect::<Vec<_>>().join("\n")), below);
}

fn row(endpoint: &EndpointProgress) -> Row<'static> {
    let condition = match endpoint.condition {
        EndpointStatus::Asked => "asked".green(),
        EndpointStatus::Paused => "paused".yellow(),
        EndpointStatus::Gone => "gone".red(),
        EndpointStatus::Probed => "probed".yellow(),
        EndpointStatus::Out => "out".red().bold(),
    };
    let words = endpoint.last_words.as_deref().unwrap_or_default().replace(['\n', '\t'], " ");
    Row::new([
        harmless(&endpoint.name).into_owned().into(),
        condition.into(),
        format!("{} of {}", endpoint.in_flight, endpoint.limit).into(),
        endpoint.answers.to_string().into(),
        endpoint.failures.to_string().into(),
        ratatui::text::Line::from(harmless(&words).into_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_table_shows_each_endpoint_and_no_control_character() {
        let endpoint = |name: &str, condition, words: Option<&str>| EndpointProgress {
            name: name.to_owned(),
            condition,
            in_flight: 3,
            limit: 8,
            answers: 120,
            failures: 4,
            tokens: 9000,
            last_words: words.map(str::to_owned),
        };
        let progress = Progress {
            wanted: 200,
            done: 120,
            failed: 1,
            tokens_per_second: 512.0,
            cost: Some(0.25),
            seconds: 90.0,
            seconds_left: Some(60.0),
            endpoints: vec![
                endpoint("http://one:8000/v1", EndpointStatus::Asked, None),
                endpoint("http://two:8000/v1", EndpointStatus::Gone, Some("reset\u{1b}[2J\nby peer")),
            ],
            ..Progress::default()
        };
        let mut terminal = Terminal::new(TestBackend::new(120, 12)).unwrap();
        draw(&mut terminal, &progress, &VecDeque::from(["two does not answer".to_owned()])).unwrap();
        let screen: String = terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect();
        for wanted in [
            "121 of 200",
            "512 tokens/s, $0.2500, 60 s left",
            "http://one:8000/v1",
            "3 of 8",
            "gone",
            "two does not answer",
        ] {
            assert!(screen.contains(wanted), "{wanted}: {screen}");
        }
        assert!(screen.contains("reset\\u{1b}[2J by peer"), "{screen}");
    }
}
