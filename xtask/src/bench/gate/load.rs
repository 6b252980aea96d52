//! A client that sends a given number of requests over keep-alive connections and reads the answers
//! whole. It is not what is measured, so it only has to be right, and bounded in count and time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// Requests in flight: enough to keep a runtime of one thread busy.
const CONNECTIONS: usize = 4;
/// No answer takes longer; one that does is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends every request once; all must be answered with `status`.
///
/// # Errors
/// The first request that was lost, or answered otherwise.
pub(super) fn send(address: &str, requests: &[Vec<u8>], status: u16) -> Result<()> {
    let address = parse(address)?;
    thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let own = requests.iter().skip(connection).step_by(CONNECTIONS);
                scope.spawn(move || send_in_turn(address, own, status))
            })
            .collect();
        senders
            .into_iter()
            .try_for_each(|sender| sender.join().map_err(|_| anyhow!("a sender panicked"))?)
    })
}

/// Sends one request that must succeed; the body of its answer.
///
/// # Errors
/// When it was lost, or answered otherwise.
pub(super) fn ask(address: &str, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(parse(address)?)?;
    stream.write_all(request)?;
    let answer = read_answer(&mut BufReader::new(stream))?;
    if answer.status != 200 {
        bail!("answered {} in place of 200", answer.status);
    }
    Ok(answer.body)
}

/// One answer.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

fn parse(address: &str) -> Result<SocketAddr> {
    let address = address.trim_start_matches("http://");
    address.parse().context("not an address")
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn send_in_turn<'a>(
    address: SocketAddr,
    requests: impl Iterator<Item = &'a Vec<u8>>,
    status: u16,
) -> Result<()> {
    let mut stream = connect(address)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    for request in requests {
        stream.write_all(request).context("a request was lost")?;
        let answer = read_answer(&mut answers).context("an answer was lost")?;
        let answered = answer.status;
        if answered != status {
            bail!("answered {answered} in place of {status}");
        }
    }
    Ok(())
}

/// Reads one answer to its end.
fn read_answer(answers: &mut impl BufRead) -> Result<Answer> {
    let first = read_line(answers)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = read_line(answers)?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().context("content-length")?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
    }
    let mut body = Vec::new();
    if chunked {
        while read_chunk(answers, &mut body)? > 0 {}
    } else {
        read_bytes(answers, length, &mut body)?;
    }
    let status = status.ok_or_else(|| anyhow!("not HTTP: {first}"))?;
    Ok(Answer { status, body })
}

/// The size of the chunk that was read; the last one has 0.
fn read_chunk(answers: &mut impl BufRead, body: &mut Vec<u8>) -> Result<u64> {
    let size = read_line(answers)?;
    let bytes = u64::from_str_radix(size.trim(), 16).context("the size of a chunk")?;
    read_bytes(answers, bytes, body)?;
    read_line(answers)?;
    Ok(bytes)
}

fn read_bytes(answers: &mut impl BufRead, bytes: u64, body: &mut Vec<u8>) -> Result<()> {
    if u64::try_from(answers.take(bytes).read_to_end(body)?)? < bytes {
        bail!("cut off");
    }
    Ok(())
}

fn read_line(answers: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if answers.read_line(&mut line)? == 0 {
        bail!("closed");
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_answer_ends_where_the_next_one_begins() -> Result<()> {
        let mut answers: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
            HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            HTTP/1.1 204 No Content\r\n\r\n";
        for (status, body) in [(200, "ok"), (401, "abc"), (204, "")] {
            let answer = read_answer(&mut answers)?;
            assert_eq!((answer.status, answer.body), (status, body.into()));
        }
        assert!(answers.is_empty());
        Ok(())
    }

    #[test]
    fn read_answer_fails_when_it_is_cut_off() {
        for cut in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        ] {
            assert!(read_answer(&mut cut.as_bytes()).is_err(), "{cut}");
        }
    }
}
