//! Asking work to end: a tree of tokens, from the host down to one call.
//!
//! Cancelling a token cancels all below it and rings every doorbell there.
//! It never runs user code and never blocks. A token holds what hangs on it
//! weakly: a child, a doorbell or a hook that ends takes itself out, so a
//! token that lives for years does not grow.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::clock::{Inbox, Signals, real_deadline};
use crate::primitive::{AtomicBool, Condvar, Mutex, Ordering};

/// Asks work to end. Cloning shares it; [`child`](Self::child) makes one that
/// ends with its parent or before it.
///
/// # Threads
///
/// All methods may be called from any thread, at once.
///
/// # Examples
///
/// ```
/// use loopkeeper::CancelToken;
///
/// let host = CancelToken::new();
/// let component = host.child();
/// component.cancel();
/// assert!(component.is_cancelled() && !host.is_cancelled());
///
/// let other = host.child();
/// host.cancel();
/// assert!(other.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken {
    node: Arc<Node>,
}

#[derive(Default)]
struct Node {
    cancelled: AtomicBool,
    links: Mutex<Links>,
    parent: Mutex<Option<(Arc<Node>, usize)>>,
    /// Disconnected on cancel; made when somebody asks for one. Without its
    /// type: where nobody does, nothing of channels is in the program.
    channel: OnceLock<Box<dyn Channel>>,
}

type Never = std::convert::Infallible;

trait Channel: Send + Sync {
    fn receiver(&self) -> &Receiver<Never>;
}

impl Channel for Receiver<Never> {
    fn receiver(&self) -> &Self {
        self
    }
}

/// What a thread waits at for tokens.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }

    fn wait(&self, deadline: Option<Instant>) {
        let mut is_open = self.is_open.lock();
        let mut is_over = false;
        while !*is_open && !is_over {
            (is_open, is_over) = match deadline {
                Some(deadline) => self.opened.wait_until(is_open, deadline),
                None => (self.opened.wait(is_open), false),
            };
        }
    }
}

/// Blocks until one of these is cancelled or the deadline has passed.
fn wait_any(tokens: &[&CancelToken], deadline: Option<Instant>) {
    if tokens.iter().any(|token| token.is_cancelled()) {
        return;
    }
    let gate = Arc::new(Gate::default());
    let hook = |token: &&CancelToken| {
        let gate = gate.clone();
        token.hook(move || gate.open())
    };
    let _hooks: Vec<LinkGuard> = tokens.iter().map(hook).collect();
    gate.wait(deadline);
}

/// What hangs on a token, by key. Most tokens have one link, which lies in the
/// token itself; for the others a list with its free places chained through it
/// takes a fifth of a map's memory.
#[derive(Default)]
struct Links {
    /// That of key 0.
    first: Option<Link>,
    /// Those of the keys from 1 on.
    more: Vec<Place>,
    /// The first free place among them, if any.
    free: Option<usize>,
}

enum Place {
    Taken(Link),
    /// Free, and which place is free next.
    Free(Option<usize>),
}

impl Links {
    fn insert(&mut self, link: Link) -> usize {
        if self.first.is_none() {
            self.first = Some(link);
            return 0;
        }
        let reused = self.free.and_then(|at| match self.more[at] {
            Place::Free(next) => Some((at, next)),
            Place::Taken(_) => None,
        });
        if let Some((at, next)) = reused {
            self.free = next;
            self.more[at] = Place::Taken(link);
            return at + 1;
        }
        if self.more.is_empty() {
            self.more.reserve_exact(1);
        }
        self.more.push(Place::Taken(link));
        self.more.len()
    }

    /// Takes a link out; `None` after a cancel has taken them all.
    fn remove(&mut self, key: usize) -> Option<Link> {
        let Some(at) = key.checked_sub(1) else { return self.first.take() };
        let place = self.more.get_mut(at)?;
        match std::mem::replace(place, Place::Free(self.free)) {
            Place::Taken(link) => {
                self.free = Some(at);
                Some(link)
            }
            free @ Place::Free(_) => {
                *place = free;
                None
            }
        }
    }

    /// Takes everything; nothing may be inserted afterwards.
    fn take(&mut self) -> impl Iterator<Item = Link> + use<> {
        self.free = None;
        let more = std::mem::take(&mut self.more).into_iter().filter_map(Place::link);
        self.first.take().into_iter().chain(more)
    }
}

impl Place {
    fn link(self) -> Option<Link> {
        match self {
            Self::Taken(link) => Some(link),
            Self::Free(_) => None,
        }
    }
}

enum Link {
    Child(Weak<Node>),
    Inbox(Weak<Inbox>),
    /// Code of this crate that neither blocks nor panics.
    Hook(Box<dyn FnOnce() + Send>),
}

impl CancelToken {
    /// Makes a token without a parent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a token that is cancelled with this one, or before it.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        match self.node.add(Link::Child(Arc::downgrade(&child.node))) {
            Ok(key) => *child.node.parent.lock() = Some((self.node.clone(), key)),
            Err(_) => child.cancel(),
        }
        child
    }

    /// Cancels this token and all below it. A second call does nothing.
    pub fn cancel(&self) {
        // A list instead of recursion: trees may be deep.
        let mut nodes = vec![self.node.clone()];
        while let Some(node) = nodes.pop() {
            for link in node.cancel() {
                match link {
                    Link::Child(child) => nodes.extend(child.upgrade()),
                    Link::Inbox(inbox) => {
                        if let Some(inbox) = inbox.upgrade() {
                            inbox.ring(Signals::CANCEL);
                        }
                    }
                    Link::Hook(hook) => hook(),
                }
            }
        }
    }

    /// Whether this token or one above it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.cancelled.load(Ordering::Acquire)
    }

    /// Whether both are one token, and not only one's child.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }

    /// Blocks until cancelled.
    pub fn wait(&self) {
        wait_any(&[self], None);
    }

    /// Blocks until cancelled or until `timeout` has passed, and says whether
    /// it was cancelled.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        wait_any(&[self], Some(real_deadline(timeout)));
        self.is_cancelled()
    }

    /// Blocks until this or `other` is cancelled.
    pub(crate) fn wait_either(&self, other: &Self) {
        wait_any(&[self, other], None);
    }

    /// A channel on which nothing is ever sent and which is disconnected when
    /// the token is cancelled: a branch for a `select!` of your own.
    #[must_use]
    pub fn channel(&self) -> &Receiver<Never> {
        let channel = self.node.channel.get_or_init(|| {
            let (end, receiver) = bounded::<Never>(0);
            // Let go of by whoever cancels, or here when that has been done.
            let _ = self.node.add(Link::Hook(Box::new(move || drop(end))));
            Box::new(receiver)
        });
        channel.receiver()
    }

    /// Rings `inbox` with a cancel when the token is cancelled, until the
    /// guard is dropped.
    pub(crate) fn ring(&self, inbox: &Arc<Inbox>) -> LinkGuard {
        let key = self.node.add(Link::Inbox(Arc::downgrade(inbox)));
        if key.is_err() {
            inbox.ring(Signals::CANCEL);
        }
        LinkGuard { node: self.node.clone(), key: key.ok() }
    }

    /// Calls `hook` once when the token is cancelled (at once if it is
    /// already), unless the guard is dropped before. Only for code of this
    /// crate that neither blocks nor panics: it runs on the thread that
    /// cancels.
    pub(crate) fn hook(&self, hook: impl FnOnce() + Send + 'static) -> LinkGuard {
        let key = match self.node.add(Link::Hook(Box::new(hook))) {
            Ok(key) => Some(key),
            Err(link) => {
                if let Link::Hook(hook) = link {
                    hook();
                }
                None
            }
        };
        LinkGuard { node: self.node.clone(), key }
    }

    #[cfg(test)]
    fn links(&self) -> usize {
        let links = self.node.links.lock();
        let more = links.more.iter().filter(|place| matches!(place, Place::Taken(_))).count();
        usize::from(links.first.is_some()) + more
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

impl Node {
    /// Hangs something on the token, or gives it back when it is cancelled.
    fn add(&self, link: Link) -> Result<usize, Link> {
        let mut links = self.links.lock();
        // Set under the same lock, so a link is either refused here or found
        // by the cancel.
        if self.cancelled.load(Ordering::Acquire) {
            return Err(link);
        }
        Ok(links.insert(link))
    }

    fn remove(&self, key: usize) {
        let link = self.links.lock().remove(key);
        drop(link);
    }

    fn cancel(&self) -> impl Iterator<Item = Link> + use<> {
        let mut links = self.links.lock();
        self.cancelled.store(true, Ordering::Release);
        let taken = links.take();
        drop(links);
        taken
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One level at a time: dropping a long chain of last children must
        // not use a stack frame for each.
        let mut parent = self.parent.lock().take();
        while let Some((node, key)) = parent {
            node.remove(key);
            parent = Arc::into_inner(node).and_then(|last| last.parent.lock().take());
        }
    }
}

/// Keeps a doorbell or hook on a token until dropped.
#[must_use = "dropping the guard takes the hook off again"]
pub(crate) struct LinkGuard {
    node: Arc<Node>,
    key: Option<usize>,
}

impl fmt::Debug for LinkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkGuard").finish_non_exhaustive()
    }
}

impl Drop for LinkGuard {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.node.remove(key);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::{Clock, Tick};
    use crate::primitive::thread;

    #[test]
    fn cancel_reaches_everything_below_and_nothing_beside() {
        let clock = Clock::system();
        let root = CancelToken::new();
        let left = root.child();
        let right = root.child();
        let leaf = left.child();
        let (inbox, _seat) = clock.join("leaf");
        let _ring = leaf.ring(&inbox);
        let seen = Arc::new(AtomicBool::new(false));
        let flag = seen.clone();
        let _hook = leaf.hook(move || flag.store(true, Ordering::Release));
        left.cancel();
        assert!(leaf.is_cancelled() && !right.is_cancelled() && !root.is_cancelled());
        assert!(clock.wait(&inbox, Tick::NEVER).has(Signals::CANCEL));
        assert!(seen.load(Ordering::Acquire));
        left.cancel();
    }

    #[test]
    fn what_is_hung_on_a_cancelled_token_hears_of_it_at_once() {
        let token = CancelToken::new();
        token.cancel();
        assert!(token.child().is_cancelled());
        let (inbox, _seat) = Clock::system().join("late");
        let _ring = token.ring(&inbox);
        assert!(inbox.is_cancelled());
        let seen = Arc::new(AtomicBool::new(false));
        let flag = seen.clone();
        let _hook = token.hook(move || flag.store(true, Ordering::Release));
        assert!(seen.load(Ordering::Acquire));
        assert!(token.wait_timeout(Duration::ZERO));
        token.wait();
    }

    #[test]
    fn a_million_children_leave_nothing_behind() {
        let token = CancelToken::new();
        let (inbox, _seat) = Clock::system().join("parent");
        for _ in 0..1_000_000 {
            let child = token.child();
            drop(child.ring(&inbox));
            drop(child.hook(|| ()));
            assert!(child.links() == 0);
        }
        assert_eq!(token.links(), 0);
        assert_eq!(Arc::strong_count(&token.node), 1);
        assert_eq!(Arc::weak_count(&inbox), 0);
    }

    #[test]
    fn links_come_and_go_in_any_order_and_those_that_are_left_hear() {
        let token = CancelToken::new();
        let heard = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let mut guards: [Option<LinkGuard>; 17] = Default::default();
        for step in 0..1_000_usize {
            let idx = (step * step + step / 3) % guards.len();
            guards[idx] = match guards[idx].take() {
                Some(_) => None,
                None => {
                    let heard = heard.clone();
                    Some(token.hook(move || _ = heard.fetch_or(1 << idx, Ordering::Relaxed)))
                }
            };
            assert_eq!(token.links(), guards.iter().flatten().count());
        }
        token.cancel();
        let left = guards.iter().enumerate().filter(|(_, guard)| guard.is_some());
        let left = left.fold(0, |left, (idx, _)| left | 1 << idx);
        assert!(left != 0 && heard.load(Ordering::Relaxed) == left);
        drop(guards);
        assert_eq!(token.links(), 0);
    }

    #[test]
    fn a_long_chain_is_cancelled_and_dropped_without_recursion() {
        let root = CancelToken::new();
        let mut last = root.child();
        for _ in 0..200_000 {
            last = last.child();
        }
        root.cancel();
        assert!(last.is_cancelled());
        drop(last);
        assert_eq!(root.links(), 0);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "threads of the library stand above tokens")]
    fn whoever_waits_is_woken_by_any_of_its_tokens() {
        for first in [true, false] {
            let (one, other) = (CancelToken::new(), CancelToken::new());
            let (theirs, (tx, rx)) = ((one.clone(), other.clone()), bounded(1));
            thread::spawn(move || {
                theirs.0.wait_either(&theirs.1);
                tx.send(()).unwrap();
            });
            let cancelled = if first { &one } else { &other };
            let is_waited_for = |_| {
                thread::yield_now();
                cancelled.links() > 0
            };
            assert!((0..1_000_000).any(is_waited_for));
            assert!(!one.wait_timeout(Duration::ZERO));
            cancelled.cancel();
            rx.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!((one.links(), other.links()), (0, 0));
        }
    }

    #[test]
    fn a_channel_made_before_or_after_the_cancel_ends() {
        let before = CancelToken::new();
        let channel = before.channel().clone();
        assert!(channel.try_recv().is_err_and(|error| error.is_empty()));
        before.cancel();
        assert!(channel.try_recv().is_err_and(|error| error.is_disconnected()));
        let after = CancelToken::new();
        after.cancel();
        assert!(after.channel().try_recv().is_err_and(|error| error.is_disconnected()));
    }
}
