//! Calls of the system on a connected stream socket.

use std::io;

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

/// Waits until a socket can be read, for at most so many milliseconds; says whether it can.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn wait_readable(descriptor: Descriptor, milliseconds: i32) -> io::Result<bool> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    let mut polled = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: `polled` is one such structure.
    done(unsafe { libc::poll(&raw mut polled, 1, milliseconds) } as libc::ssize_t).map(|ready| ready > 0)
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
pub fn wait_readable(_descriptor: Descriptor, _milliseconds: i32) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(windows)]
#[allow(unsafe_code)]
fn stream(descriptor: Descriptor) -> io::Result<std::mem::ManuallyDrop<std::net::TcpStream>> {
    let raw = std::os::windows::io::RawSocket::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the socket is open, and is not closed by this.
    Ok(std::mem::ManuallyDrop::new(unsafe { std::os::windows::io::FromRawSocket::from_raw_socket(raw) }))
}
