//! One change within a transaction: first everything is checked, then everything is written.

use muster_ca::audit::{Act, Entry};
use muster_ca::ports::{Binding, Change, StoreError, Write};
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::brokers;
use super::fault::Fault;
use super::insert;
use super::read::is_compromised;
use super::rows::{first, millis, run, status_columns, whole};
use super::spent::{self, Token, Waiting};
use super::tally::Tally;

/// The number of the writer whose chain is continued.
const WRITER: i64 = 1;

/// The end of the audit chain.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// The writer's name.
    pub(super) writer: String,
    /// The last entry's number; 0 if there is none.
    pub(super) sequence: u64,
    /// The last entry's hash; zeros if there is none.
    pub(super) hash: [u8; 32],
}

impl Chain {
    /// Reads where the chain ends.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let writer = conn.query_row("SELECT name FROM writers WHERE id = ?1", [WRITER], |row| {
            row.get(0)
        })?;
        let last = conn
            .query_row(
                "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
            )
            .optional()?;
        let (sequence, hash) = last.unwrap_or_default();
        Ok(Self {
            writer,
            sequence: sequence.unsigned_abs(),
            hash,
        })
    }
}

/// Changes that become durable together.
pub(super) struct Batch<'c> {
    conn: &'c Connection,
    /// Where the chain will end.
    pub(super) chain: Chain,
    tally: Tally,
    waiting: &'c Waiting,
    /// Tokens that this batch spends.
    spent: Vec<Token>,
}

impl<'c> Batch<'c> {
    pub(super) fn new(conn: &'c Connection, chain: Chain, waiting: &'c Waiting) -> Self {
        Self {
            conn,
            chain,
            tally: Tally::default(),
            waiting,
            spent: Vec::new(),
        }
    }

    /// Applies a change whole, or refuses it and leaves no trace of it. One that is only rehearsed leaves none either way.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), Fault> {
        if !change.act.dry_run {
            return self.apply_all(change);
        }
        let (chain, tally, spent) = (self.chain.clone(), self.tally.clone(), self.spent.len());
        run(self.conn, "SAVEPOINT rehearsal", [])?;
        let outcome = self.apply_all(change);
        run(self.conn, "ROLLBACK TO rehearsal", [])?;
        run(self.conn, "RELEASE rehearsal", [])?;
        (self.chain, self.tally) = (chain, tally);
        self.spent.truncate(spent);
        outcome
    }

    fn apply_all(&mut self, change: &Change) -> Result<(), Fault> {
        if touches_a_table_twice(&change.writes) {
            self.apply_one_by_one(&change.writes)?;
        } else {
            for write in &change.writes {
                self.check(write)?;
            }
            for write in &change.writes {
                self.write(write)?;
            }
        }
        self.record(&change.act)
    }

    /// Writes out what was only counted so far. Says where the chain ends, and which tokens were spent.
    pub(super) fn finish(self) -> Result<(Chain, Vec<Token>), Fault> {
        self.tally.store(self.conn)?;
        Ok((self.chain, self.spent))
    }

    fn check(&self, write: &Write) -> Result<(), Fault> {
        let Write::Spend { token, expires } = write else {
            return check(self.conn, write);
        };
        let spent = self.waiting.holds(token)
            || self.spent.contains(token)
            || spent::is_sorted_in(self.conn, token, *expires)?;
        refuse_if(spent, || StoreError::Spent)
    }

    /// A write may rest on one before it, so each is checked when its turn comes, and a savepoint takes all of them
    /// back. It costs a copy of every page touched, which is why the usual change does without.
    fn apply_one_by_one(&mut self, writes: &[Write]) -> Result<(), Fault> {
        let (tally, spent) = (self.tally.clone(), self.spent.len());
        run(self.conn, "SAVEPOINT change", [])?;
        let refused = writes.iter().try_for_each(|write| {
            self.check(write)?;
            self.write(write)
        });
        if let Err(Fault::Refused(_)) = refused {
            self.tally = tally;
            self.spent.truncate(spent);
            run(self.conn, "ROLLBACK TO change", [])?;
        }
        run(self.conn, "RELEASE change", [])?;
        refused
    }

    fn write(&mut self, write: &Write) -> Result<(), Fault> {
        let conn = self.conn;
        match write {
            Write::Spend { token, expires } => {
                spent::add(conn, token, *expires)?;
                self.spent.push(*token);
            }
            Write::Device {
                device,
                expected: None,
            } => {
                insert::device(conn, device)?;
                self.tally.device(device, None);
            }
            Write::Device {
                device,
                expected: Some(_),
            } => {
                let before = insert::changed_device(conn, device)?;
                self.tally.device(device, Some(before));
            }
            Write::Certificate(certificate) => {
                insert::certificate(conn, certificate)?;
                self.tally.added(certificate);
            }
            Write::Compromise { key, at } => {
                run(
                    conn,
                    "INSERT INTO compromised (key, at) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING",
                    params![key, millis(*at)],
                )?;
            }
            Write::Status { serial, from, to } => {
                let place = insert::status(conn, serial, to)?;
                self.tally.moved(&place, from, to);
            }
            Write::Token(token) => insert::token(conn, token)?,
            Write::WithdrawToken { id, at } => {
                run(
                    conn,
                    "UPDATE tokens SET withdrawn = ?2 WHERE id = ?1",
                    params![id, millis(*at)],
                )?;
            }
            Write::Bind(binding) => insert::binding(conn, binding)?,
            Write::Unbind { token, key } => insert::unbind(conn, token, key)?,
            Write::Confirm { token, key, at } => {
                run(
                    conn,
                    "UPDATE bindings SET confirmed = ?3 WHERE token = ?1 AND key = ?2 AND confirmed IS NULL",
                    params![token, key, millis(*at)],
                )?;
            }
            Write::Authority { name, generation } => insert::generation(conn, name, generation)?,
            Write::Provisioner(provisioner) => insert::provisioner(conn, provisioner)?,
            Write::RemoveProvisioner(name) => {
                run(conn, "DELETE FROM provisioners WHERE name = ?1", [name])?;
            }
            Write::Operator(operator) => insert::operator(conn, operator)?,
            Write::RemoveOperator(name) => {
                run(conn, "DELETE FROM operators WHERE name = ?1", [name])?;
            }
            Write::Login { name, login } => insert::login(conn, name, login)?,
            Write::Role { name, role } => {
                let sql = "UPDATE operators SET role = ?2 WHERE name = ?1";
                run(conn, sql, params![name, role.as_str()])?;
            }
            Write::ApiKey { name, key } => {
                run(
                    conn,
                    "UPDATE operators SET key = ?2 WHERE name = ?1",
                    params![name, key],
                )?;
            }
            Write::Keep(kept) => insert::kept(conn, kept)?,
            Write::Drop(key) => {
                run(conn, "DELETE FROM drawer WHERE key = ?1", [key])?;
            }
            Write::Crl(crl) => insert::crl(conn, crl)?,
            Write::Broker { broker, .. } => brokers::write(conn, broker)?,
            Write::Access { name, rules } => brokers::write_access(conn, name, rules.as_ref())?,
        }
        Ok(())
    }

    fn record(&mut self, act: &Act) -> Result<(), Fault> {
        let entry = Entry::chain(act, &self.chain.writer, self.chain.sequence + 1, self.chain.hash);
        run(
            self.conn,
            "INSERT INTO audit (sequence, writer, at, actor, via, source, action, subject, detail, before, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                whole(entry.sequence), WRITER, millis(entry.at), entry.actor, entry.via, entry.source, entry.action,
                entry.subject, entry.detail, entry.before, entry.hash
            ],
        )?;
        self.chain.sequence = entry.sequence;
        self.chain.hash = entry.hash;
        Ok(())
    }
}

/// Whether a check of one write could depend on another write of the same change.
fn touches_a_table_twice(writes: &[Write]) -> bool {
    let mut seen = 0u16;
    writes.iter().any(|write| {
        let table = 1u16
            << match write {
                Write::Spend { .. } => 0,
                Write::Device { .. } => 1,
                Write::Certificate(_) | Write::Status { .. } | Write::Compromise { .. } => 2,
                Write::Token(_)
                | Write::WithdrawToken { .. }
                | Write::Bind(_)
                | Write::Unbind { .. }
                | Write::Confirm { .. } => 3,
                Write::Authority { .. } => 4,
                Write::Provisioner(_) | Write::RemoveProvisioner(_) => 5,
                Write::Operator(_)
                | Write::RemoveOperator(_)
                | Write::Login { .. }
                | Write::Role { .. }
                | Write::ApiKey { .. } => 6,
                Write::Crl(_) => 7,
                Write::Keep(_) | Write::Drop(_) => 8,
                Write::Broker { .. } => 9,
                Write::Access { .. } => 10,
            };
        let again = seen & table != 0;
        seen |= table;
        again
    })
}

/// Whether a write may be made now; a token's turn is [`Batch::check`]'s. After this it cannot break a constraint.
fn check(conn: &Connection, write: &Write) -> Result<(), Fault> {
    match write {
        Write::Spend { .. } => Ok(()),
        Write::Device { device, expected } => {
            let sql = "SELECT version FROM devices WHERE name = ?1";
            let stored = first(conn, sql, [device.name.as_str()], |row| Ok(row.get::<_, i64>(0)?))?;
            refuse_if(stored != expected.map(whole), || {
                changed("the device", device.name.as_str())
            })
        }
        Write::Certificate(certificate) => {
            let sql = "SELECT 1 FROM certificates WHERE serial = ?1";
            let taken = exists(conn, sql, [certificate.serial.as_bytes()])?;
            refuse_if(taken, || {
                StoreError::Exists(format!("the certificate {}", certificate.serial))
            })?;
            refuse_if(is_compromised(conn, &certificate.key)?, || {
                StoreError::Compromised
            })?;
            // It may have been signed before the next one was activated; whoever retires this one counts on no more.
            let (authority, generation) = (&certificate.authority, certificate.generation);
            let sql = "SELECT 1 FROM authorities WHERE name = ?1 AND number = ?2 AND stage <> 'active'";
            refuse_if(exists(conn, sql, params![authority, generation])?, || {
                StoreError::NotIssuing(muster_ca::file_stem(authority, generation))
            })
        }
        Write::Compromise { .. } => Ok(()),
        Write::Status { serial, from, .. } => {
            let sql = "SELECT revoked_at, reason FROM certificates WHERE serial = ?1";
            let stored = first(conn, sql, [serial.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            refuse_if(stored != Some(status_columns(from)), || {
                changed("the certificate", &serial.hex())
            })
        }
        Write::Token(token) => {
            let taken = exists(
                conn,
                "SELECT 1 FROM tokens WHERE id = ?1 OR hash = ?2",
                params![token.id, token.hash],
            )?;
            refuse_if(taken, || StoreError::Exists(format!("the token {}", token.id)))
        }
        Write::WithdrawToken { id, .. } => {
            let open = exists(
                conn,
                "SELECT 1 FROM tokens WHERE id = ?1 AND withdrawn IS NULL",
                [id],
            )?;
            refuse_if(!open, || changed("the token", id))
        }
        Write::Bind(binding) => check_binding(conn, binding),
        Write::Unbind { token, key } => {
            let bound = is_bound(conn, token, key)?;
            refuse_if(!bound, || changed("the token", token))
        }
        Write::Confirm { .. } => Ok(()),
        Write::Authority { .. } => Ok(()),
        Write::Provisioner(provisioner) => {
            let taken = exists(
                conn,
                "SELECT 1 FROM provisioners WHERE name = ?1",
                [&provisioner.name],
            )?;
            refuse_if(taken, || {
                StoreError::Exists(format!("the provisioner {}", provisioner.name))
            })
        }
        Write::RemoveProvisioner(name) => {
            let there = exists(conn, "SELECT 1 FROM provisioners WHERE name = ?1", [name])?;
            refuse_if(!there, || changed("the provisioner", name))
        }
        Write::Operator(operator) => {
            let taken = exists(conn, "SELECT 1 FROM operators WHERE name = ?1", [&operator.name])?;
            refuse_if(taken, || {
                StoreError::Exists(format!("the operator {}", operator.name))
            })
        }
        Write::RemoveOperator(name)
        | Write::Login { name, .. }
        | Write::Role { name, .. }
        | Write::ApiKey { name, .. } => {
            let there = exists(conn, "SELECT 1 FROM operators WHERE name = ?1", [name])?;
            refuse_if(!there, || changed("the operator", name))
        }
        Write::Keep(kept) => {
            let taken = exists(conn, "SELECT 1 FROM drawer WHERE key = ?1", [&kept.key])?;
            refuse_if(taken, || StoreError::Exists("an entry of the drawer".into()))
        }
        Write::Drop(key) => {
            let there = exists(conn, "SELECT 1 FROM drawer WHERE key = ?1", [key])?;
            refuse_if(!there, || StoreError::Changed("the drawer".into()))
        }
        Write::Broker { broker, expected } => {
            let sql = "SELECT version FROM brokers WHERE name = ?1";
            let stored = first(conn, sql, [broker.name.as_str()], |row| Ok(row.get::<_, i64>(0)?))?;
            refuse_if(stored != expected.map(whole), || {
                changed("the broker", broker.name.as_str())
            })
        }
        Write::Access { .. } => Ok(()),
        Write::Crl(crl) => {
            let sql = "SELECT 1 FROM crls WHERE authority = ?1 AND generation = ?2 AND number >= ?3";
            let newer = exists(
                conn,
                sql,
                params![crl.authority, crl.generation, whole(crl.number)],
            )?;
            refuse_if(newer, || changed("the CRL of", &crl.authority))
        }
    }
}

/// A token that was withdrawn since the change was prepared binds nothing more, and a key is bound once.
fn check_binding(conn: &Connection, binding: &Binding) -> Result<(), Fault> {
    let sql = "SELECT 1 FROM tokens WHERE id = ?1 AND used < uses AND withdrawn IS NULL";
    let open = exists(conn, sql, params![binding.token])?;
    let bound = is_bound(conn, &binding.token, &binding.key)?;
    refuse_if(!open || bound, || changed("the token", &binding.token))
}

fn is_bound(conn: &Connection, token: &str, key: &[u8; 32]) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM bindings WHERE token = ?1 AND key = ?2";
    exists(conn, sql, params![token, key])
}

fn exists(conn: &Connection, sql: &str, params: impl Params) -> Result<bool, Fault> {
    Ok(first(conn, sql, params, |_| Ok(()))?.is_some())
}

fn refuse_if(broken: bool, why: impl FnOnce() -> StoreError) -> Result<(), Fault> {
    if broken {
        Err(Fault::Refused(why()))
    } else {
        Ok(())
    }
}

fn changed(what: &str, name: &str) -> StoreError {
    StoreError::Changed(format!("{what} {name}"))
}
