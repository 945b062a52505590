//! A reentrant lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::py::errors::local;

/// How often this process was forked off another since the first of them began.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// How long a thread waits, at most, while others take the lock that ask for it later.
const PATIENCE: Duration = Duration::from_millis(1);

/// A reentrant lock that code of the core can hold, and test, at little cost. Use it by `with`.
///
/// Whoever frees it wakes the first thread that waits, and makes that its owner if it has waited for a millisecond. To do so each time
/// would be fair too, but each message of two threads that send would cost switches between them.
///
/// It changes only under the GIL. Waiting for it is not interrupted by signals, so it must not be held while a peer is waited for.
///
/// It belongs to the process that made it: after a fork the child gets `LocalProtocolError` instead of it.
#[pyclass(frozen, module = "mintws._core")]
pub struct Lock {
    /// The count of forks of the process that made it.
    forks: u64,
    /// The number of the thread that holds it; 0 if none does.
    owner: AtomicU64,
    depth: AtomicUsize,
    /// The threads that wait for it, and how many they are.
    waiters: Mutex<VecDeque<Waiter>>,
    waiting: AtomicUsize,
}

struct Waiter {
    number: u64,
    thread: Thread,
    since: Instant,
}

/// A lock that is held until this is dropped.
pub struct Held<'a>(&'a Lock);

#[pymethods]
impl Lock {
    #[new]
    pub fn new() -> Self {
        Self {
            forks: FORKS.load(Ordering::Relaxed),
            owner: AtomicU64::new(0),
            depth: AtomicUsize::new(0),
            waiters: Mutex::new(VecDeque::new()),
            waiting: AtomicUsize::new(0),
        }
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        self.take(py)
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        if self.owner.load(Ordering::Relaxed) != this_thread() {
            return Err(PyRuntimeError::new_err("this thread does not hold the lock"));
        }
        self.free();
        Ok(())
    }

    /// Leave all locks to the parent: this process was forked off it.
    #[staticmethod]
    fn _leave_to_parent() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
}

impl Lock {
    /// Holds the lock, after waiting for it.
    pub fn hold(&self, py: Python<'_>) -> PyResult<Held<'_>> {
        self.take(py)?;
        Ok(Held(self))
    }

    /// Holds the lock, unless another thread does, or it belongs to another process.
    #[inline]
    pub fn try_hold(&self) -> Option<Held<'_>> {
        self.try_take().then(|| Held(self))
    }

    #[inline]
    fn try_take(&self) -> bool {
        let (owner, this) = (self.owner.load(Ordering::Relaxed), this_thread());
        if (owner != 0 && owner != this) || !self.is_ours() {
            return false;
        }
        self.owner.store(this, Ordering::Release);
        self.depth.store(self.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        true
    }

    #[inline]
    fn is_ours(&self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    fn take(&self, py: Python<'_>) -> PyResult<()> {
        if self.try_take() {
            return Ok(());
        }
        if !self.is_ours() {
            return Err(local(
                "connections and servers belong to the process that opened them, of which this one is a fork: open others here",
            ));
        }
        self.wait(py);
        Ok(())
    }

    /// Takes it after waiting for it.
    #[cold]
    fn wait(&self, py: Python<'_>) {
        let this = this_thread();
        self.waiters().push_back(Waiter { number: this, thread: thread::current(), since: Instant::now() });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        loop {
            py.detach(|| {
                while ![0, this].contains(&self.owner.load(Ordering::Acquire)) {
                    thread::park();
                }
            });
            // Another thread may have been quicker.
            if self.try_take() {
                self.waiters().retain(|waiter| waiter.number != this);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    }

    #[inline]
    fn free(&self) {
        let depth = self.depth.load(Ordering::Relaxed) - 1;
        self.depth.store(depth, Ordering::Relaxed);
        if depth > 0 {
            return;
        }
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.hand_over();
        } else {
            self.owner.store(0, Ordering::Release);
        }
    }

    /// Frees it for the first thread that waits, alone if that has waited for long.
    #[cold]
    fn hand_over(&self) {
        let waiters = self.waiters();
        let Some(first) = waiters.front() else { return self.owner.store(0, Ordering::Release) };
        let owner = if first.since.elapsed() < PATIENCE { 0 } else { first.number };
        self.owner.store(owner, Ordering::Release);
        first.thread.unpark();
    }

    fn waiters(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.free();
    }
}

/// The number of the calling thread, which no other has.
#[inline]
pub fn this_thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    NUMBER.with(|number| *number)
}
