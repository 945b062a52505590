//! Calls of the system on a connected stream socket.

use std::io;
#[cfg(unix)]
use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
};

/// The descriptor of a socket, as Python gives it.
pub type Descriptor = i64;

/// Whether single calls can do without waiting on a socket that blocks. Elsewhere sockets do not block, and only the background waits.
pub const CAN_LEAD: bool = cfg!(unix);

/// Reads once, and waits for something to read if `wait` says so.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn recv(descriptor: Descriptor, room: &mut [u8], wait: bool) -> io::Result<usize> {
    let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: `room` is writable for its length.
    done(unsafe { libc::recv(descriptor, room.as_mut_ptr().cast(), room.len(), flags) })
}

/// Writes as much as does not block.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn send(descriptor: Descriptor, data: &[u8]) -> io::Result<usize> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: `data` is readable for its length. Python has SIGPIPE ignored.
    done(unsafe { libc::send(descriptor, data.as_ptr().cast(), data.len(), libc::MSG_DONTWAIT) })
}

/// Waits until a socket can be read, or the thread is woken, for at most so many milliseconds: without limit if they are negative.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn wait_readable(descriptor: Descriptor, waker: Option<&Waker>, milliseconds: i32) -> io::Result<Ready> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // One that is negative is not looked at.
    let woken = waker.map_or(-1, |waker| waker.woken.as_raw_fd());
    let mut polled = [descriptor, woken].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: `polled` are two such structures.
    let ready = done(unsafe { libc::poll(polled.as_mut_ptr(), 2, milliseconds) } as libc::ssize_t)?;
    Ok(match (ready, waker) {
        (0, _) => Ready::Nothing,
        (_, Some(waker)) if polled[1].revents != 0 => {
            waker.forget();
            Ready::Woken
        }
        _ => Ready::Socket,
    })
}

/// What has ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(windows, allow(dead_code, reason = "nobody leads there"))]
pub enum Ready {
    /// The time that was given.
    Nothing,
    /// Something to read, or the end of it.
    Socket,
    /// A `Waker`.
    Woken,
}

/// Wakes a thread that waits for a socket.
#[cfg(unix)]
pub struct Waker {
    waking: UnixStream,
    woken: UnixStream,
}

#[cfg(unix)]
impl Waker {
    pub fn new() -> io::Result<Self> {
        let (waking, woken) = UnixStream::pair()?;
        waking.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok(Self { waking, woken })
    }

    /// Ends the wait that is under way, or the next.
    pub fn wake(&self) {
        // Where it is full, the thread is woken already.
        let _ = (&self.waking).write(b"\0");
    }

    fn forget(&self) {
        let _ = (&self.woken).read(&mut [0; 64]);
    }
}

/// Nobody leads here.
#[cfg(windows)]
pub struct Waker;

#[cfg(windows)]
impl Waker {
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn wake(&self) {}
}

#[cfg(unix)]
fn done(count: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Reads once.
#[cfg(windows)]
pub fn recv(descriptor: Descriptor, room: &mut [u8], _wait: bool) -> io::Result<usize> {
    io::Read::read(&mut &*stream(descriptor)?, room)
}

/// Writes as much as does not block.
#[cfg(windows)]
pub fn send(descriptor: Descriptor, data: &[u8]) -> io::Result<usize> {
    io::Write::write(&mut &*stream(descriptor)?, data)
}

/// Nobody leads here.
#[cfg(windows)]
pub fn wait_readable(_descriptor: Descriptor, _waker: Option<&Waker>, _milliseconds: i32) -> io::Result<Ready> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(windows)]
#[allow(unsafe_code)]
fn stream(descriptor: Descriptor) -> io::Result<std::mem::ManuallyDrop<std::net::TcpStream>> {
    let raw = std::os::windows::io::RawSocket::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the socket is open, and is not closed by this.
    Ok(std::mem::ManuallyDrop::new(unsafe { std::os::windows::io::FromRawSocket::from_raw_socket(raw) }))
}
