//! Which Redis is the master: what the sentinels say, and it itself confirms.

use super::link::{Error as LinkError, Link, shown};
use crate::config::{HostPort, Redis, Secret};
use crate::discovery::Discovery;
use redis::Value;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A sentinel, and a new master, may think a little longer than a pull waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Every sentinel was asked; what came of each.
#[derive(Debug, thiserror::Error)]
#[error("no sentinel leads to a master: {0}")]
pub(super) struct Error(String);

/// Asks one sentinel after the other, at each of its addresses, until one names a master that says that it is one.
pub(super) async fn master(redis: &Redis, discovery: &Discovery) -> Result<Link, Error> {
    let mut said = Vec::new();
    for sentinel in &redis.sentinels {
        let addresses = match resolve(sentinel, discovery).await {
            Ok(addresses) => addresses,
            Err(why) => {
                said.push(why);
                continue;
            }
        };
        for at in addresses {
            match by(at, redis, discovery).await {
                Ok(link) => return Ok(link),
                Err(why) => said.push(format!("{sentinel}: {}", shown(&why))),
            }
        }
    }
    Err(Error(said.join("; ")))
}

async fn by(at: SocketAddr, redis: &Redis, discovery: &Discovery) -> Result<Link, String> {
    let named = ask(at, redis).await?;
    let addresses = resolve(&named, discovery).await?;
    let address = addresses.first().ok_or("it names nobody")?;
    if address.ip().is_loopback() && !at.ip().is_loopback() {
        return Err(format!(
            "it names {named}, which is another machine from here: let it monitor the master by its address"
        ));
    }
    let text = |error: LinkError| error.to_string();
    let opened = Link::open(*address, redis.password.as_ref(), redis.db).await;
    let mut link = opened.map_err(text)?;
    match link.ask(&["ROLE"], PATIENCE).await.map_err(text)? {
        Value::Array(role) if role.first().and_then(text_of).as_deref() == Some("master") => {
            Ok(link)
        }
        _ => Err(format!("it names {named}, which is no master")),
    }
}

/// Where this sentinel says that the master is. A sentinel that wants a password is shown that of the master.
async fn ask(at: SocketAddr, redis: &Redis) -> Result<HostPort, String> {
    match name(at, None, redis).await {
        Err(LinkError::Says(_, what)) if what.contains("NOAUTH") && redis.password.is_some() => {
            name(at, redis.password.as_ref(), redis).await
        }
        named => named,
    }
    .map_err(|error| error.to_string())?
    .ok_or_else(|| format!("it knows no master {:?}", redis.master))
}

async fn name(
    at: SocketAddr,
    password: Option<&Secret>,
    redis: &Redis,
) -> Result<Option<HostPort>, LinkError> {
    let mut link = Link::open(at, password, 0).await?;
    let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &redis.master];
    let Value::Array(named) = link.ask(&question, PATIENCE).await? else {
        return Ok(None);
    };
    let [host, port] = named.as_slice() else {
        return Ok(None);
    };
    let port = text_of(port).and_then(|port| port.parse().ok());
    Ok(text_of(host)
        .zip(port)
        .map(|(host, port)| HostPort { host, port }))
}

async fn resolve(at: &HostPort, discovery: &Discovery) -> Result<Vec<SocketAddr>, String> {
    let found = discovery.lookup(&at.host).await;
    let found = found.map_err(|error| shown(&error.to_string()))?;
    let with_port = |address: IpAddr| SocketAddr::new(address, at.port);
    Ok(found.into_iter().map(with_port).collect())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
