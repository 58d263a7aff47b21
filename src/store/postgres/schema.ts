import type { ClientBase } from 'pg'

/**
 * In order; each runs once a schema and only adds: a node of the release before goes on working on the migrated schema, so a function
 * that changes gets a new name. `$schema` stands for the schema's name. Keys compare bytewise (collation "C"). Expiry has no index: it
 * would make every update of an entry write to all indexes, and the sweep doesn't need one.
 */
const MIGRATIONS = [
  `CREATE TABLE $schema.entries (
     key text COLLATE "C" PRIMARY KEY,
     expires bigint, -- milliseconds since the epoch; null: never
     version text COLLATE "C" NOT NULL,
     value bytea NOT NULL
   ) WITH (fillfactor = 85);
   ALTER TABLE $schema.entries ALTER value SET STORAGE EXTERNAL; -- sealed bytes don't compress

   CREATE TABLE $schema.counters (
     key text COLLATE "C" PRIMARY KEY,
     expires bigint NOT NULL,
     value bigint NOT NULL
   ) WITH (fillfactor = 85);

   -- Each statement in it has a snapshot of its own, taken after the locks: that is what makes the checks right, for absent keys
   -- too, which have no row to lock. The locks are taken in one order, so two batches never wait for each other.
   CREATE FUNCTION $schema.commit_1(
     check_keys text[], check_versions text[],
     set_keys text[], set_values bytea[], set_ttls bigint[], new_version text,
     delete_keys text[], channel text, notifications text[],
     OUT committed boolean, OUT now_ms double precision
   ) LANGUAGE plpgsql VOLATILE AS $function$
   DECLARE
     lock_id bigint;
     moment bigint;
   BEGIN
     IF current_setting('transaction_isolation') <> 'read committed' THEN
       RAISE EXCEPTION 'the isolation level must be read committed, it is %', current_setting('transaction_isolation');
     END IF;
     FOR lock_id IN
       SELECT DISTINCT hashtextextended('$schema ' || touched.key, 0) AS id
       FROM unnest(check_keys || set_keys || delete_keys) AS touched(key) ORDER BY id
     LOOP
       PERFORM pg_advisory_xact_lock(lock_id);
     END LOOP;
     moment := floor(extract(epoch FROM clock_timestamp()) * 1000);
     now_ms := moment;
     IF EXISTS (
       SELECT FROM unnest(check_keys, check_versions) AS expected(key, version)
       LEFT JOIN $schema.entries AS found
         ON found.key = expected.key AND (found.expires IS NULL OR found.expires > moment)
       WHERE found.version IS DISTINCT FROM expected.version
     ) THEN
       committed := false;
       RETURN;
     END IF;
     INSERT INTO $schema.entries AS entry (key, expires, version, value)
       SELECT written.key, moment + written.ttl, new_version, written.value
       FROM unnest(set_keys, set_values, set_ttls) AS written(key, value, ttl)
       ON CONFLICT (key) DO UPDATE
         SET expires = excluded.expires, version = excluded.version, value = excluded.value;
     IF cardinality(delete_keys) > 0 THEN
       DELETE FROM $schema.entries WHERE key = ANY (delete_keys);
     END IF;
     PERFORM pg_notify(channel, message) FROM unnest(notifications) AS sent(message);
     committed := true;
   END $function$;`,
]

/** Any number; it keeps two nodes from migrating at once. */
const MIGRATION_LOCK = 4_849_226_871

/**
 * Brings the schema up to date; needs the right to create it only while it is missing.
 * @throws Error when it is too new
 */
export async function migrate(client: ClientBase, schema: string): Promise<void> {
  if ((await version(client, schema)) === MIGRATIONS.length) return
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
  try {
    // However long another node's migration, or this one, may take.
    await client.query('SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0')
    await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    const done = await version(client, schema)
    // One ahead is a rolling deploy, see above.
    if (done > MIGRATIONS.length + 1) throw new Error(`the schema ${schema} was made by a newer release`)
    // The existence is asked first because CREATE SCHEMA IF NOT EXISTS needs the right to create even when it does nothing.
    if (!(await exists(client, 'SELECT FROM pg_namespace WHERE nspname = $1', schema))) {
      await client.query(`CREATE SCHEMA ${schema}`)
    }
    await client.query(`CREATE TABLE IF NOT EXISTS ${schema}.migrations (
      version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())`)
    for (const [index, migration] of MIGRATIONS.entries()) {
      if (index < done) continue
      await client.query(migration.replaceAll('$schema', schema))
      await client.query(`INSERT INTO ${schema}.migrations (version) VALUES ($1)`, [index + 1])
    }
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {}) // The first error is the one to tell.
    throw error
  }
}

async function version(client: ClientBase, schema: string): Promise<number> {
  const tables = `SELECT FROM pg_tables WHERE tablename = 'migrations' AND schemaname = $1`
  if (!(await exists(client, tables, schema))) return 0
  const { rows } = await client.query(`SELECT coalesce(max(version), 0) AS version FROM ${schema}.migrations`)
  return Number(rows[0]?.version)
}

/** Asks the catalog's tables: `to_regclass` and its like answer from a cache that a lock just waited for does not refresh. */
async function exists(client: ClientBase, query: string, schema: string): Promise<boolean> {
  return (await client.query(query, [schema])).rowCount !== 0
}
