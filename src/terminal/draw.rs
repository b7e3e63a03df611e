//! Puts the model on the screen. Nothing is decided here but where things go.

use super::{
    commands::COMMANDS,
    conversation::{Conversation, Snippet},
    every,
    flow::Flow,
    keys::KEYS,
    model::{Drawn, Link, Model, Now, Overlay},
    planned::{ID_DIGITS, Planned},
    reminders::what,
    sanitize::cells,
    theme, wording,
    wrap::{fit, fit_padded, wrap},
};
use godwit_client::v1::Reminder;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

/// From this width on, the list stands beside the messages. Below it, the list shows while no conversation is selected.
const TWO_PANES_FROM: u16 = 56;

/// From this many rows on, a conversation takes two of them.
const TWO_ROWS_FROM: u16 = 10;

/// Draws everything, and says what of the messages can be seen.
pub fn draw(frame: &mut Frame<'_>, model: &Model, now: Now) -> Drawn {
    let area = frame.area();
    let height = area.height;
    // What goes first on a small screen stands last here.
    let rows = [
        Constraint::Length(u16::from(height >= 3)),
        Constraint::Fill(1),
        Constraint::Length(u16::from(height >= 6)),
        Constraint::Length(u16::from(height >= 1)),
        Constraint::Length(u16::from(height >= 5)),
    ];
    let [top, body, rule, input, bottom] = Layout::vertical(rows).areas(area);
    // A small screen has no row for it, and what the user is told counts more than how the connection is.
    if bottom.is_empty() && model.notice.is_some() {
        draw_bottom(frame, model, top);
    } else {
        draw_state(frame, model, now, top);
    }
    if !rule.is_empty() {
        frame.render_widget(Line::from(Span::styled("─".repeat(rule.width.into()), theme::DIM)), rule);
    }
    draw_input(frame, model, input);
    draw_bottom(frame, model, bottom);
    if area.width < TWO_PANES_FROM {
        return match model.selected() {
            Some(conversation) => draw_messages(frame, model, now, conversation, body),
            None => {
                let changes_ms = draw_list(frame, model, now, body);
                let overlay_top_max = draw_overlay(frame, model, now, body);
                Drawn { changes_ms, overlay_top_max, ..Drawn::default() }
            }
        };
    }
    let list_width = (area.width * 3 / 10).clamp(20, 34);
    let columns = [Constraint::Length(list_width), Constraint::Length(1), Constraint::Fill(1)];
    let [list, border, messages] = Layout::horizontal(columns).areas(body);
    let changes_ms = draw_list(frame, model, now, Rect { width: list.width.saturating_sub(1), ..list });
    let bar = (0..border.height).map(|_| Line::styled("│", theme::DIM)).collect::<Vec<_>>();
    frame.render_widget(Paragraph::new(bar), border);
    let messages = inset(messages);
    let drawn = match model.selected() {
        Some(conversation) => draw_messages(frame, model, now, conversation, messages),
        None => {
            if model.overlay.is_none() {
                draw_welcome(frame, model, messages);
            }
            Drawn { overlay_top_max: draw_overlay(frame, model, now, messages), ..Drawn::default() }
        }
    };
    Drawn { changes_ms: [drawn.changes_ms, changes_ms].into_iter().flatten().min(), ..drawn }
}

fn draw_state(frame: &mut Frame<'_>, model: &Model, now: Now, area: Rect) {
    let session = &model.session;
    let (mark, style, text) = match &model.link {
        Link::Connecting => ("◌", theme::WAITING, "connecting…".to_owned()),
        Link::CatchingUp => ("●", theme::WAITING, format!("connected as {}, catching up…", session.username)),
        Link::Connected => ("●", theme::GOOD, format!("connected as {}", session.username)),
        Link::Reconnecting { at, reason } => {
            let seconds = at.saturating_duration_since(now.instant).as_secs_f64().ceil() as u64;
            let when = if seconds == 0 { "reconnecting…".to_owned() } else { format!("reconnecting in {seconds} s") };
            ("◌", theme::WAITING, if reason.is_empty() { when } else { format!("{when} ({reason})") })
        }
        Link::Closed { reason } if reason.is_empty() => ("✗", theme::ERROR, "closed".to_owned()),
        Link::Closed { reason } => ("✗", theme::ERROR, format!("closed: {reason}")),
    };
    let width = usize::from(area.width);
    let left = fit(&format!("{mark} {text}"), width);
    let room = width.saturating_sub(cells(&left) + 2);
    let server = if cells(&session.server) <= room { session.server.as_str() } else { "" };
    let gap = width.saturating_sub(cells(&left) + cells(server));
    let spans = [Span::styled(left, style), Span::raw(" ".repeat(gap)), Span::styled(server.to_owned(), theme::DIM)];
    frame.render_widget(Line::from(spans.to_vec()), area);
}

/// Returns when a row is to be written otherwise, by the server's clock.
fn draw_list(frame: &mut Frame<'_>, model: &Model, now: Now, area: Rect) -> Option<u64> {
    let mut changes_ms: Option<u64> = None;
    let row_height: u16 = if area.height >= TWO_ROWS_FROM { 2 } else { 1 };
    let rows = usize::from(area.height / row_height).max(1);
    let selected = model.selected_index();
    let first = selected.map_or(0, |selected| (selected + 1).saturating_sub(rows));
    let today = model.session.stamp(now.unix_ms);
    for (row, conversation) in model.list().skip(first).take(rows).enumerate() {
        let y = area.y.saturating_add(row as u16 * row_height);
        let place = Rect { y, height: row_height, ..area }.intersection(area);
        let style = if selected == Some(first + row) { theme::SELECTED } else { Style::new() };
        let width = usize::from(area.width);
        let unread = match conversation.unread_count() {
            Some(0) => String::new(),
            Some(count) if count > 999 => "999+".to_owned(),
            Some(count) => count.to_string(),
            None => "•".to_owned(),
        };
        let time = match conversation.active_ms {
            0 => String::new(),
            ms => model.session.stamp(ms).short(&today),
        };
        let name = conversation.name(model.session.me, &model.people);
        let expires_ms = conversation.snippet.as_ref().map_or(0, |snippet| snippet.expires_ms);
        if expires_ms > now.server_ms {
            changes_ms = Some(changes_ms.map_or(expires_ms, |at_ms| at_ms.min(expires_ms)));
        }
        let snippet = snippet(model, now, conversation);
        let lines = if row_height == 2 {
            vec![
                row_line(&name, theme::TITLE, &time, theme::DIM, width),
                row_line(&snippet, theme::DIM, &unread, theme::NEW, width),
            ]
        } else {
            vec![row_line(&name, theme::TITLE, &unread, theme::NEW, width)]
        };
        frame.render_widget(Paragraph::new(lines).style(style), place);
    }
    changes_ms
}

/// Something on the left, cut off where it meets what stands on the right.
fn row_line(left: &str, left_style: Style, right: &str, right_style: Style, width: usize) -> Line<'static> {
    let right = fit(right, width);
    let left_width = width.saturating_sub(cells(&right) + usize::from(!right.is_empty()));
    let gap = width.saturating_sub(left_width + cells(&right));
    Line::from(vec![
        Span::styled(fit_padded(left, left_width), left_style),
        Span::raw(" ".repeat(gap)),
        Span::styled(right, right_style),
    ])
}

fn snippet(model: &Model, now: Now, conversation: &Conversation) -> String {
    if let Some(own) = conversation.outgoing.back() {
        return format!("… {}", own.text.replace('\n', " "));
    }
    let is_there = |snippet: &&Snippet| !(1..=now.server_ms).contains(&snippet.expires_ms);
    let Some(snippet) = conversation.snippet.as_ref().filter(is_there) else { return String::new() };
    if snippet.sender_id == model.session.me.as_u64() {
        format!("you: {}", snippet.text)
    } else if conversation.is_group() {
        format!("{}: {}", model.people.name(snippet.sender_id), snippet.text)
    } else {
        snippet.text.clone()
    }
}

fn draw_messages(frame: &mut Frame<'_>, model: &Model, now: Now, conversation: &Conversation, area: Rect) -> Drawn {
    let [title, rest] =
        Layout::vertical([Constraint::Length(u16::from(area.height >= 3)), Constraint::Fill(1)]).areas(area);
    let width = usize::from(rest.width);
    let height = usize::from(rest.height);
    let flow = Flow::new(model, conversation, width, now.server_ms);
    let visible = flow.visible(conversation.anchor, height);
    let shows_end = visible.shows_end && conversation.timeline.reaches_end();
    let is_empty = visible.lines.is_empty();
    let hint = match (shows_end, model.unread_elsewhere()) {
        (false, _) if !is_empty => "↓ newer below (Esc)".to_owned(),
        (_, unread) if frame.area().width < TWO_PANES_FROM && unread > 0 => format!("{unread} unread elsewhere"),
        _ => String::new(),
    };
    let name = conversation.name(model.session.me, &model.people);
    let title_line = match hint.is_empty() {
        true => {
            row_line(&name, theme::TITLE, &model.typing.sentence(conversation.id, &model.people), theme::DIM, width)
        }
        false => row_line(&name, theme::TITLE, &hint, theme::NEW, width),
    };
    frame.render_widget(title_line, title);
    // The newest message stands at the bottom, next to what is being typed.
    let missing = height.saturating_sub(visible.lines.len()) as u16;
    let place = Rect { y: rest.y + missing, height: rest.height - missing, ..rest };
    frame.render_widget(Paragraph::new(visible.lines), place);
    if visible.shows_first && flow.is_loading_above() && missing > 0 {
        frame.render_widget(Line::styled("loading…", theme::DIM), Rect { height: 1, ..rest });
    }
    let overlay_top_max = draw_overlay(frame, model, now, area);
    let changes_ms = flow.changes_ms();
    Drawn { width, height, shows_first: visible.shows_first && height > 0, shows_end, changes_ms, overlay_top_max }
}

fn draw_welcome(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let text: &[&str] = match (model.list_len(), &model.link) {
        (_, Link::Connecting) => &[],
        (0, _) => {
            &["Nobody has written to you yet.", "", "/to NAME starts a conversation,", "/help shows everything else."]
        }
        _ => &["↑ ↓ chooses a conversation,", "/to NAME starts one,", "/help shows everything else."],
    };
    let lines: Vec<Line<'_>> = text.iter().map(|&line| Line::styled(line, theme::DIM).centered()).collect();
    let top = area.height.saturating_sub(lines.len() as u16) / 2;
    frame.render_widget(Paragraph::new(lines), Rect { y: area.y + top, height: area.height - top, ..area });
}

/// Returns how many lines can be scrolled out above.
fn draw_overlay(frame: &mut Frame<'_>, model: &Model, now: Now, area: Rect) -> usize {
    let width = usize::from(area.width);
    let mut lines = match &model.overlay {
        None => return 0,
        Some(Overlay::Help) => help(width),
        Some(Overlay::Planned) => planned(model, now, width),
        Some(Overlay::Reminders) => reminders(model, now, width),
        Some(Overlay::Members { members, .. }) => {
            let mut lines = vec![Line::styled(format!("{} members", members.len()), theme::TITLE)];
            lines.extend(members.iter().map(|&(id, is_owner)| {
                let owner = if is_owner { "  owner" } else { "" };
                let name = fit(&model.people.full_name(id), width.saturating_sub(owner.len()));
                Line::from(vec![
                    Span::styled(name, theme::author(id, id == model.session.me.as_u64())),
                    Span::styled(owner, theme::DIM),
                ])
            }));
            lines
        }
    };
    let height = usize::from(area.height);
    let top_max = lines.len().saturating_sub(height);
    lines.drain(..model.overlay_top.min(top_max));
    if lines.len() > height {
        let hidden = lines.len() - height + 1;
        lines.truncate(height.saturating_sub(1));
        lines.push(Line::styled(format!("… and {hidden} more: PgDn"), theme::DIM));
    }
    frame.render_widget(ratatui::widgets::Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
    top_max
}

fn planned(model: &Model, now: Now, width: usize) -> Vec<Line<'static>> {
    let today = model.session.stamp(now.unix_ms);
    let row = |(index, one): (usize, &Planned)| {
        let id: String = one.hex().chars().take(ID_DIGITS).collect();
        let when = model.session.stamp(one.due_ms).time_and_day(&today);
        let text = one.text().replace('\n', " ");
        let what = format!("{:>2}  {when}  {}: {text}", index + 1, model.name_of(one.conversation));
        let mut lines = vec![row_line(&what, Style::new(), &id, theme::DIM, width)];
        if let Some(recurrence) = &one.recurrence {
            let missed = match recurrence.missed {
                0 => String::new(),
                missed => format!("; missed {missed} times while the server was away"),
            };
            let again = format!("    {}{missed}", every::words(recurrence, &model.session.zone));
            lines.push(Line::styled(fit(&again, width), theme::DIM));
        }
        if let Some(why) = &one.failure {
            let why = format!("    not sent: {}", wording::refusal(why));
            lines.push(Line::styled(fit(&why, width), theme::ERROR));
        }
        lines
    };
    let title = match model.planned.is_empty() {
        true => "Nothing is scheduled",
        false => "Scheduled; /cancel, /reschedule or /sendnow NUMBER",
    };
    let title = Line::styled(fit(title, width), theme::TITLE);
    std::iter::once(title).chain(model.planned.iter().enumerate().flat_map(row)).collect()
}

fn reminders(model: &Model, now: Now, width: usize) -> Vec<Line<'static>> {
    let today = model.session.stamp(now.unix_ms);
    let row = |(index, one): (usize, &Reminder)| {
        let when = model.session.stamp(one.due_ms).time_and_day(&today);
        let what = format!("{:>2}  {when}  {}: {}", index + 1, model.place_of(one), what(one));
        row_line(&what, Style::new(), if one.is_due { "due" } else { "" }, theme::TITLE, width)
    };
    let title = match model.reminders.is_empty() {
        true => "No reminders",
        false => "Reminders; /dismiss NUMBER",
    };
    let title = Line::styled(fit(title, width), theme::TITLE);
    std::iter::once(title).chain(model.reminders.iter().enumerate().map(row)).collect()
}

fn help(width: usize) -> Vec<Line<'static>> {
    let column = COMMANDS.iter().chain(&KEYS).map(|(what, _)| cells(what)).max().unwrap_or(0);
    let mut lines = vec![Line::styled("Commands", theme::TITLE)];
    let mut explain = |(what, why): &(&str, &str)| {
        let mut lead = fit_padded(what, column.min(width)) + "  ";
        for part in wrap(why, width.saturating_sub(cells(&lead)).max(12)) {
            let indent = " ".repeat(cells(&lead));
            lines.push(Line::from(vec![
                Span::raw(std::mem::replace(&mut lead, indent)),
                Span::styled(part, theme::DIM),
            ]));
        }
    };
    COMMANDS.iter().for_each(&mut explain);
    explain(&("", ""));
    KEYS.iter().for_each(&mut explain);
    lines
}

fn draw_input(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    const PROMPT: &str = "> ";
    if area.is_empty() {
        return;
    }
    let prompt = if area.width > 8 { PROMPT } else { "" };
    let width = usize::from(area.width) - prompt.len();
    let view = model.input.view(width);
    let text = match (model.input.is_empty(), model.selected()) {
        (false, _) => Span::raw(view.text),
        (true, None) => Span::styled(fit("/to NAME", width), theme::DIM),
        (true, Some(conversation)) => {
            let name = conversation.name(model.session.me, &model.people);
            Span::styled(fit(&format!("message to {name}"), width), theme::DIM)
        }
    };
    frame.render_widget(Line::from(vec![Span::styled(prompt, theme::TITLE), text]), area);
    let column = area.x + prompt.len() as u16 + view.cursor as u16;
    frame.set_cursor_position(Position::new(column.min(area.right() - 1), area.y));
}

fn draw_bottom(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let width = usize::from(area.width);
    let line = match (&model.notice, model.awaited()) {
        (Some(notice), _) => {
            let style = if notice.is_error { theme::ERROR } else { Style::new() };
            Line::styled(fit(&notice.text, width), style)
        }
        (None, Some(awaited)) => {
            Line::styled(fit(&format!("waiting for {awaited}… Esc gives it up"), width), theme::WAITING)
        }
        (None, None) => {
            let hints = ["↑↓ conversations", "PgUp PgDn scroll", "Tab unread", "/help", "Ctrl-C quit"];
            let mut text = String::new();
            for hint in hints {
                let separator = if text.is_empty() { "" } else { "  ·  " };
                if cells(&text) + cells(separator) + cells(hint) <= width {
                    text = text + separator + hint;
                }
            }
            Line::styled(text, theme::DIM)
        }
    };
    frame.render_widget(line, area);
}

fn inset(area: Rect) -> Rect {
    let by = area.width.min(1);
    Rect { x: area.x + by, width: area.width - by, ..area }
}
