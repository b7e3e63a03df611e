//! The messages of one conversation as lines of text, laid out only as far as they are seen.

use super::{
    conversation::{Anchor, Conversation, Outgoing, OutgoingState},
    expiry::{self, Gone},
    local_time::Stamp,
    model::Model,
    sanitize::cells,
    theme,
    timeline::{Item, ItemContent},
    wording,
    wrap::{fit, fit_padded, wrap},
};
use ratatui::{
    style::Style,
    text::{Line, Span},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

/// From this width on, authors stand in a column of their own.
const COLUMNS_FROM: usize = 44;

/// The widest column of authors.
const AUTHOR_CELLS_MAX: usize = 14;

/// Messages of one author that are farther apart name the author again.
const SAME_BREATH_MS: u64 = 10 * 60 * 1000;

/// The rows of a conversation, for one width.
pub struct Flow<'a> {
    model: &'a Model,
    conversation: &'a Conversation,
    width: usize,
    server_ms: u64,
    author_width: usize,
    rows: Vec<Row<'a>>,
    items: usize,
    /// The first row that was new when the conversation was opened.
    first_new: Option<usize>,
    blocks: RefCell<HashMap<usize, Rc<[Line<'static>]>>>,
    changes_ms: Cell<Option<u64>>,
}

#[derive(Clone, Copy)]
enum Row<'a> {
    Entry(&'a Item),
    Own(&'a Outgoing),
}

/// What is on the screen.
pub struct Visible {
    /// At most as many as asked for.
    pub lines: Vec<Line<'static>>,
    /// The first line of the first row is among them, or there is none.
    pub shows_first: bool,
    /// The last line of the last row is among them, or there is none.
    pub shows_end: bool,
}

/// A row and a line of its block.
type Position = (usize, usize);

impl<'a> Flow<'a> {
    /// Lays nothing out yet. `server_ms` is the time by which messages disappear.
    pub fn new(model: &'a Model, conversation: &'a Conversation, width: usize, server_ms: u64) -> Self {
        let shown = conversation.timeline.items().filter(|item| conversation.shows(item));
        let mut rows: Vec<Row<'a>> = shown.map(Row::Entry).collect();
        let items = rows.len();
        // Where the newest entries are not in memory, own messages would seem to follow old ones.
        if conversation.timeline.reaches_end() {
            rows.extend(conversation.outgoing.iter().map(Row::Own));
        }
        let me = model.session.me.as_u64();
        let is_new = |row: &Row<'_>| match (row, conversation.new_after) {
            (Row::Entry(item), Some(after)) => item.seq > after && item.sender_id != me,
            _ => false,
        };
        let first_new = rows.iter().position(is_new);
        let author_width = author_width(model, conversation, width);
        Self {
            model,
            conversation,
            width,
            server_ms,
            author_width,
            rows,
            items,
            first_new,
            blocks: RefCell::default(),
            changes_ms: Cell::new(None),
        }
    }

    /// The lines that end at the anchor, or a few below it where there are not enough above.
    pub fn visible(&self, anchor: Anchor, height: usize) -> Visible {
        let (Some(mut bottom), true) = (self.bottom(anchor), height > 0) else {
            return Visible { lines: Vec::new(), shows_first: true, shows_end: true };
        };
        let mut top = bottom;
        let mut lines = std::collections::VecDeque::from(self.line(top));
        while lines.len() < height {
            let Some(above) = self.above(top) else { break };
            top = above;
            if let Some(line) = self.line(above).pop() {
                lines.push_front(line);
            }
        }
        while lines.len() < height {
            let Some(below) = self.below(bottom) else { break };
            bottom = below;
            lines.extend(self.line(below));
        }
        Visible { lines: lines.into(), shows_first: top == (0, 0), shows_end: self.below(bottom).is_none() }
    }

    /// The anchor after scrolling by `lines` from `anchor`, such that `height` lines stay filled.
    pub fn scrolled(&self, anchor: Anchor, up: bool, lines: usize, height: usize) -> Anchor {
        let Some(mut position) = self.bottom(anchor) else { return Anchor::End };
        for _ in 0..lines {
            let next = if up { self.above(position) } else { self.below(position) };
            let Some(next) = next else { break };
            position = next;
        }
        let mut lowest = (0, 0);
        for _ in 1..height {
            let Some(below) = self.below(lowest) else { return Anchor::End };
            lowest = below;
        }
        self.anchor(position.max(lowest))
    }

    fn anchor(&self, (row, line): Position) -> Anchor {
        if self.below((row, line)).is_none() {
            return Anchor::End;
        }
        // Own messages that are on their way have no seq to hold on to: the entry above them stands in.
        let row_of_item = row.min(self.items.saturating_sub(1));
        match self.rows.get(row_of_item) {
            Some(Row::Entry(item)) => {
                let below = if row == row_of_item { self.block(row).len() - 1 - line } else { 0 };
                Anchor::At { seq: item.seq, below }
            }
            _ => Anchor::End,
        }
    }

    fn bottom(&self, anchor: Anchor) -> Option<Position> {
        let last = self.rows.len().checked_sub(1)?;
        let (row, below) = match anchor {
            Anchor::End => (last, 0),
            Anchor::At { seq, below } => {
                let row = self.rows[..self.items].partition_point(|row| match row {
                    Row::Entry(item) => item.seq < seq,
                    Row::Own(_) => false,
                });
                (row.min(last), below)
            }
        };
        Some((row, (self.block(row).len() - 1).saturating_sub(below)))
    }

    fn above(&self, (row, line): Position) -> Option<Position> {
        match line.checked_sub(1) {
            Some(line) => Some((row, line)),
            None => row.checked_sub(1).map(|row| (row, self.block(row).len() - 1)),
        }
    }

    fn below(&self, (row, line): Position) -> Option<Position> {
        if line + 1 < self.block(row).len() {
            Some((row, line + 1))
        } else {
            (row + 1 < self.rows.len()).then_some((row + 1, 0))
        }
    }

    fn line(&self, (row, line): Position) -> Vec<Line<'static>> {
        self.block(row).get(line).cloned().into_iter().collect()
    }

    /// The lines of a row, with what stands above it: at least one.
    fn block(&self, row: usize) -> Rc<[Line<'static>]> {
        if let Some(block) = self.blocks.borrow().get(&row) {
            return block.clone();
        }
        let mut lines = Vec::new();
        let before = row.checked_sub(1).map(|before| self.rows[before]);
        let current = self.rows[row];
        let stamp = self.stamp(current);
        let is_new_day = before.is_none_or(|before| !self.stamp(before).same_day(&stamp));
        if is_new_day {
            lines.push(self.separator(&stamp.long_date(), theme::DIM));
        }
        if self.first_new == Some(row) {
            lines.push(self.separator("new", theme::NEW));
        }
        let goes_on = lines.is_empty() && before.is_some_and(|before| self.goes_on(before, current));
        match current {
            Row::Own(own) => self.own(own, goes_on, &mut lines),
            Row::Entry(item) if item.is_over(self.server_ms) => self.change(&stamp, Gone::Expired.words(), &mut lines),
            Row::Entry(item) => match &item.content {
                ItemContent::Text(text) => {
                    let time = Span::styled(stamp.time(), theme::DIM);
                    self.message(time, item.sender_id, text, Style::new(), goes_on, &mut lines);
                    if item.is_scheduled && item.sender_id == self.model.session.me.as_u64() {
                        self.mark("scheduled", &mut lines);
                    }
                    self.mark_expiry(item, &mut lines);
                }
                change => {
                    let mut text = wording::change(change, item.sender_id, &self.model.people);
                    if let ItemContent::Undelivered { seq, .. } = change
                        && let Some(message) = self.conversation.timeline.item(*seq)
                    {
                        text += &format!(": your message of {}", self.clock(message.sent_ms).time());
                    }
                    self.change(&stamp, &text, &mut lines);
                }
            },
        }
        // Nothing is shown for an empty message, but every row can be scrolled to.
        if lines.is_empty() {
            lines.push(Line::default());
        }
        let block: Rc<[Line<'static>]> = lines.into();
        self.blocks.borrow_mut().insert(row, block.clone());
        block
    }

    fn own(&self, own: &Outgoing, goes_on: bool, lines: &mut Vec<Line<'static>>) {
        let (mark, style) = match &own.state {
            OutgoingState::Pending => (Span::styled("  …  ", theme::PENDING), theme::PENDING),
            OutgoingState::Sent => (Span::styled(self.clock(own.typed_ms).time(), theme::DIM), Style::new()),
            OutgoingState::Failed(_) => (Span::styled("  ✗  ", theme::ERROR), theme::DIM),
        };
        self.message(mark, self.model.session.me.as_u64(), &own.text, style, goes_on, lines);
        if let OutgoingState::Failed(why) = &own.state {
            let indent = if self.has_columns() { self.author_width + 8 } else { 0 };
            for part in wrap(&format!("not sent: {why}"), self.width.saturating_sub(indent)) {
                lines.push(Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(part, theme::ERROR)]));
            }
        }
    }

    /// Says behind a message when it disappears.
    fn mark_expiry(&self, item: &Item, lines: &mut Vec<Line<'static>>) {
        if item.expires_ms > 0 {
            let (left, changes_in_ms) = expiry::left(item.expires_ms - self.server_ms);
            let changes_ms = self.server_ms + changes_in_ms;
            self.changes_ms.set(Some(self.changes_ms.get().map_or(changes_ms, |at_ms| at_ms.min(changes_ms))));
            self.mark(&format!("{left} left"), lines);
        } else if item.expires_after_read_ms > 0 {
            let after = expiry::span(Duration::from_millis(item.expires_after_read_ms));
            self.mark(&format!("{after} after reading"), lines);
        }
    }

    /// When one of the lines that were laid out is to be written otherwise, by the server's clock.
    pub fn changes_ms(&self) -> Option<u64> {
        self.changes_ms.get()
    }

    /// Says something about a message behind it.
    fn mark(&self, mark: &str, lines: &mut Vec<Line<'static>>) {
        let mark = format!("  ({mark})");
        match lines.last_mut().filter(|last| last.width() + cells(&mark) <= self.width) {
            Some(last) => last.push_span(Span::styled(mark, theme::DIM)),
            None => {
                let indent = if self.has_columns() { self.author_width + 8 } else { 0 };
                let mark = fit(mark.trim_start(), self.width.saturating_sub(indent));
                lines.push(Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(mark, theme::DIM)]));
            }
        }
    }

    fn message(
        &self,
        time: Span<'static>,
        sender: u64,
        text: &str,
        style: Style,
        goes_on: bool,
        lines: &mut Vec<Line<'static>>,
    ) {
        let is_me = sender == self.model.session.me.as_u64();
        let name = self.model.people.name(sender);
        let name = if is_me && !self.model.people.knows(sender) { self.model.session.username.clone() } else { name };
        let author_style = theme::author(sender, is_me);
        if !self.has_columns() {
            if !goes_on {
                let author = Span::styled(fit(&name, self.width.saturating_sub(6)), author_style);
                lines.push(Line::from(vec![time, Span::raw(" "), author]));
            }
            let parts = wrap(text, self.width).into_iter();
            lines.extend(parts.map(|part| Line::from(Span::styled(part, style))));
            return;
        }
        let author = if goes_on { String::new() } else { name };
        let mut lead = vec![
            time,
            Span::raw(" "),
            Span::styled(fit_padded(&author, self.author_width), author_style),
            Span::raw("  "),
        ];
        let indent = self.author_width + 8;
        for part in wrap(text, self.width - indent) {
            let mut spans = std::mem::replace(&mut lead, vec![Span::raw(" ".repeat(indent))]);
            spans.push(Span::styled(part, style));
            lines.push(Line::from(spans));
        }
    }

    fn change(&self, stamp: &Stamp, text: &str, lines: &mut Vec<Line<'static>>) {
        let mut lead = stamp.time() + " ";
        for part in wrap(text, self.width.saturating_sub(cells(&lead)).max(1)) {
            let indent = " ".repeat(cells(&lead));
            let time = Span::styled(std::mem::replace(&mut lead, indent), theme::DIM);
            lines.push(Line::from(vec![time, Span::styled(part, theme::CHANGE)]));
        }
    }

    fn separator(&self, label: &str, style: Style) -> Line<'static> {
        let label = fit(label, self.width.saturating_sub(4));
        let rule = self.width.saturating_sub(cells(&label) + 2);
        let text = format!("{} {label} {}", "─".repeat(rule / 2), "─".repeat(rule - rule / 2));
        Line::from(Span::styled(text, style))
    }

    fn goes_on(&self, before: Row<'_>, current: Row<'_>) -> bool {
        let me = self.model.session.me.as_u64();
        let author_and_time = |row| match row {
            Row::Own(own) => Some((me, own.typed_ms)),
            Row::Entry(item) if matches!(item.content, ItemContent::Text(_)) && !item.is_over(self.server_ms) => {
                Some((item.sender_id, item.sent_ms))
            }
            Row::Entry(_) => None,
        };
        match (author_and_time(before), author_and_time(current)) {
            (Some((one, at)), Some((other, later))) => one == other && later.saturating_sub(at) < SAME_BREATH_MS,
            _ => false,
        }
    }

    fn has_columns(&self) -> bool {
        self.width >= COLUMNS_FROM
    }

    fn stamp(&self, row: Row<'_>) -> Stamp {
        match row {
            Row::Entry(item) => self.clock(item.sent_ms),
            Row::Own(own) => self.clock(own.typed_ms),
        }
    }

    fn clock(&self, unix_ms: u64) -> Stamp {
        self.model.session.stamp(unix_ms)
    }

    /// A page is being fetched for the place where these rows begin.
    pub fn is_loading_above(&self) -> bool {
        self.conversation.timeline.is_loading() && self.conversation.timeline.has_older()
    }
}

/// Wide enough for the two of a direct conversation; in a group, where anybody may speak next, always the same.
fn author_width(model: &Model, conversation: &Conversation, width: usize) -> usize {
    let most = AUTHOR_CELLS_MAX.min(width / 4).max(1);
    match conversation.id.peer_of(model.session.me) {
        Some(peer) => {
            let names = [model.people.name(peer.as_u64()), model.session.username.clone()];
            names.iter().map(|name| cells(name)).max().unwrap_or(0).clamp(3.min(most), most)
        }
        None => most,
    }
}
