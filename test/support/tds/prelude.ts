/**
 * Part of the TDS server test double: the objects that a PostgreSQL database behind the double needs. Types that
 * PostgreSQL lacks (datetimeoffset keeps its offset, datetime2 its seventh digit) are stored as text under separate
 * types, so that a result's columns show their types.
 */

import { COLLATED } from './collations.ts'

const textLike = (name: string, modifier: boolean): string => `
  create type mssql.${name};
  create function mssql.${name}_in(cstring) returns mssql.${name} language internal immutable strict as 'textin';
  create function mssql.${name}_out(mssql.${name}) returns cstring language internal immutable strict as 'textout';
  ${
    modifier
      ? `create function mssql.${name}_mod_in(cstring[]) returns integer language internal immutable strict as 'varchartypmodin';
         create function mssql.${name}_mod_out(integer) returns cstring language internal immutable strict as 'varchartypmodout';`
      : ''
  }
  create type mssql.${name} (
    input = mssql.${name}_in, output = mssql.${name}_out, like = text, category = 'S'
    ${modifier ? `, typmod_in = mssql.${name}_mod_in, typmod_out = mssql.${name}_mod_out` : ''}
  );`

/** They are ordered by value, not by text. */
const KEYS: Readonly<Record<string, string>> = {
  tinyint: '$1::text::numeric',
  money: '$1::text::numeric',
  smallmoney: '$1::text::numeric',
  datetime2: `extract(epoch from left($1::text, 19)::timestamp) * 10000000 + rpad(substr($1::text, 21), 7, '0')::numeric`,
  datetime: `extract(epoch from left($1::text, 19)::timestamp) * 10000000 + rpad(substr($1::text, 21), 7, '0')::numeric`,
  smalldatetime: 'extract(epoch from left($1::text, 19)::timestamp) * 10000000',
  datetimeoffset: `extract(epoch from (left($1::text, 19) || right($1::text, 6))::timestamptz) * 10000000 +
    rpad(coalesce(substring($1::text from '[.]([0-9]+)'), ''), 7, '0')::numeric`,
  time7: `extract(epoch from left($1::text, 8)::time) * 10000000 + rpad(substr($1::text, 10), 7, '0')::numeric`,
}

const COMPARISONS: readonly (readonly [operator: string, name: string, strategy: number])[] = [
  ['<', 'lt', 1],
  ['<=', 'le', 2],
  ['=', 'eq', 3],
  ['>=', 'ge', 4],
  ['>', 'gt', 5],
]

const ordered = ([name, key]: readonly [string, string]): string => `
  create function mssql.${name}_key(mssql.${name}) returns ${KEYS[name] === undefined ? 'text' : 'numeric'} language sql immutable strict as $f$ select ${key} $f$;
  create function mssql.${name}_cmp(mssql.${name}, mssql.${name}) returns int language sql immutable strict
    as $f$ select case when mssql.${name}_key($1) < mssql.${name}_key($2) then -1
      when mssql.${name}_key($1) = mssql.${name}_key($2) then 0 else 1 end $f$;
  ${COMPARISONS.map(
    ([operator, word]) => `
      create function mssql.${name}_${word}(mssql.${name}, mssql.${name}) returns boolean language sql immutable strict
        as $f$ select mssql.${name}_key($1) ${operator} mssql.${name}_key($2) $f$;
      create operator mssql.${operator} (leftarg = mssql.${name}, rightarg = mssql.${name}, function = mssql.${name}_${word});`,
  ).join('')}
  create operator class mssql.${name}_ops default for type mssql.${name} using btree as
    ${COMPARISONS.map(([operator, , strategy]) => `operator ${strategy} mssql.${operator}`).join(', ')},
    function 1 mssql.${name}_cmp(mssql.${name}, mssql.${name});`

const withModifier = ['datetime2', 'datetimeoffset', 'time7', ...COLLATED.map(({ type }) => type)]
const without = [
  'smalldatetime',
  'tinyint',
  'money',
  'smallmoney',
  'datetime',
  'sql_variant',
  'mssql_xml',
  'hierarchyid',
  'geography',
]

export const OWN_TYPES: readonly string[] = [...withModifier, ...without]

/** system_type_id and user_type_id of sys.types; CLR types share the first. */
const TYPES: readonly (readonly [name: string, system: number, user?: number])[] = [
  ['image', 34],
  ['text', 35],
  ['uniqueidentifier', 36],
  ['date', 40],
  ['time', 41],
  ['datetime2', 42],
  ['datetimeoffset', 43],
  ['tinyint', 48],
  ['smallint', 52],
  ['int', 56],
  ['smalldatetime', 58],
  ['real', 59],
  ['money', 60],
  ['datetime', 61],
  ['float', 62],
  ['sql_variant', 98],
  ['ntext', 99],
  ['bit', 104],
  ['decimal', 106],
  ['numeric', 108],
  ['smallmoney', 122],
  ['bigint', 127],
  ['varbinary', 165],
  ['varchar', 167],
  ['binary', 173],
  ['char', 175],
  ['timestamp', 189],
  ['nvarchar', 231],
  ['nchar', 239],
  ['hierarchyid', 240, 128],
  ['geography', 240, 130],
  ['xml', 241],
  ['sysname', 231, 256],
]

/** The names of PostgreSQL's types, and of the double's, in the catalogue. */
export const CALLED: Readonly<Record<string, string>> = {
  bool: 'bit',
  bytea: 'varbinary',
  int8: 'bigint',
  int2: 'smallint',
  int4: 'int',
  float4: 'real',
  float8: 'float',
  bpchar: 'nchar',
  varchar: 'nvarchar',
  text: 'nvarchar',
  date: 'date',
  time: 'time',
  timestamp: 'datetime2',
  timestamptz: 'datetimeoffset',
  numeric: 'decimal',
  uuid: 'uniqueidentifier',
  time7: 'time',
  rowversion: 'timestamp',
  ...Object.fromEntries(COLLATED.map(({ type }) => [type, 'varchar'])),
  mssql_xml: 'xml',
}

/** Idempotent under its lock, because several first sessions may run it at once. */
export const PRELUDE = `
do $do$
begin
  perform pg_advisory_xact_lock(5021964);
  if to_regnamespace('mssql') is not null then return; end if;
  create schema mssql;
  create schema if not exists dbo;
  create schema if not exists sys;
  ${withModifier.map((name) => textLike(name, true)).join('\n')}
  ${without.map((name) => textLike(name, false)).join('\n')}

  ${[...Object.entries(KEYS), ...COLLATED.map(({ type }) => [type, '$1::text'] as const)].map(ordered).join('\n')}
  ${COLLATED.map(({ type }) => `create cast (mssql.${type} as text) with inout as implicit;`).join('\n')}

  -- Eight bytes that rise with every row that is written; mssql.min_active is how a test leaves a transaction open.
  create sequence mssql.dbts;
  create domain mssql.rowversion as bytea default int8send(nextval('mssql.dbts'));
  create function dbo.min_active_rowversion() returns bytea language sql volatile as $f$
    select coalesce(decode(nullif(current_setting('mssql.min_active', true), ''), 'hex'),
      (select int8send(case when is_called then last_value + 1 else last_value end) from mssql.dbts)) $f$;
  create function dbo.databasepropertyex(varchar, varchar) returns varchar language sql stable
    as $f$ select coalesce(nullif(current_setting('mssql.updateability', true), ''), 'READ_WRITE') $f$;
  -- mssql.password_set and mssql.password_days are how a test says when a password was set, and when it ends.
  create function dbo.loginproperty(varchar, varchar) returns varchar language sql stable as $f$ select case lower($2)
    when 'passwordlastsettime' then nullif(current_setting('mssql.password_set', true), '')
    when 'daysuntilexpiration' then nullif(current_setting('mssql.password_days', true), '')
    when 'isexpired' then (coalesce(nullif(current_setting('mssql.password_days', true), ''), '1')::int <= 0)::int::text end $f$;
  create function dbo.datediff(varchar, anyelement, timestamp) returns int language sql stable strict as $f$
    select floor(extract(epoch from date_trunc($1, $3) - date_trunc($1, $2::text::timestamp)))::int $f$;
  create function dbo.hashbytes(varchar, text) returns bytea language sql immutable strict
    as $f$ select sha256(convert_to($2, 'UTF8')) $f$;
  create function dbo.charindex(text, text) returns int language sql immutable strict
    as $f$ select strpos(lower($2), lower($1)) $f$;
  create function dbo.string_split(text, text) returns table (value text) language sql immutable
    as $f$ select unnest(string_to_array($1, $2)) $f$;
  create function mssql.styled(value anyelement, style int) returns text language sql immutable strict as $f$
    select case when pg_typeof(value) = 'bytea'::regtype
      then case when style = 1 then '0x' else '' end || upper(substr(value::text, 3)) else value::text end $f$;
  create function mssql.try_cast(value text, sample anyelement) returns anyelement language plpgsql immutable as $f$
    declare result alias for $0;
    begin
      if pg_typeof(sample)::text like '%datetime%' then perform left(value, 19)::timestamp; end if;
      execute format('select %L::%s', value, pg_typeof(sample)) into result;
      return result;
    exception when data_exception then return null;
    end $f$;

  create view sys.schemas as
    select nspname::varchar(128) as name, oid::int as schema_id from pg_namespace
    where nspname not like 'pg\\_%' and nspname not in ('mssql', 'information_schema');
  create view sys.tables as
    select c.relname::varchar(128) as name, c.oid::int as object_id, c.relnamespace::int as schema_id, 'U'::char(2) as type,
      (c.relname like 'in\\_memory%')::int as is_memory_optimized
    from pg_class c join sys.schemas s on s.schema_id = c.relnamespace::int where c.relkind in ('r', 'p');
  create view sys.objects as
    select c.relname::varchar(128) as name, c.oid::int as object_id, c.relnamespace::int as schema_id,
      (case c.relkind when 'v' then 'V' else 'U' end)::char(2) as type
    from pg_class c join sys.schemas s on s.schema_id = c.relnamespace::int where c.relkind in ('r', 'p', 'v');
  create view sys.all_objects as
    select ('object ' || n)::varchar(128) as name, n as object_id from generate_series(1, 2000) as n;
  -- ALTER DATABASE ... SET mssql.snapshot = '0' is how a test forbids snapshots, and mssql.rcsi = 'on' versions them.
  create view sys.databases as
    select (case datname when 'postgres' then 'master' else datname end)::varchar(128) as name, oid::int as database_id,
      coalesce(nullif(current_setting('mssql.snapshot', true), ''), '1')::smallint as snapshot_isolation_state,
      coalesce(nullif(current_setting('mssql.rcsi', true), ''), 'off')::boolean as is_read_committed_snapshot_on,
      nullif(current_setting('mssql.source', true), '')::int as source_database_id,
      md5(datname || oid)::uuid as service_broker_guid
    from pg_database where not datistemplate;
  create table sys.types (name varchar(128), system_type_id int, user_type_id int);
  insert into sys.types values ${TYPES.map(([name, system, user = system]) => `('${name}', ${system}, ${user})`).join(', ')};
  create view sys.columns as
    select a.attrelid::int as object_id, a.attnum::int as column_id, a.attname::varchar(128) as name,
      y.system_type_id, y.user_type_id,
      case when t.typname in ('varchar', 'bpchar') and a.atttypmod > 4 and a.atttypmod <= 4004
        then (a.atttypmod - 4) * 2 when t.typname in ('varchar', 'bpchar', 'text', 'bytea', 'mssql_xml') then -1
        else 0 end as max_length,
      case when t.typname <> 'numeric' then 0 when a.atttypmod < 0 then 38
        else (a.atttypmod - 4) >> 16 end as precision,
      case when t.typname = 'numeric' then case when a.atttypmod < 0 then 6 else (a.atttypmod - 4) & 2047 end
        when t.typname in ('datetime2', 'datetimeoffset', 'time7') then case when a.atttypmod < 0 then 7
          else a.atttypmod - 5 end
        when t.typname in ('timestamp', 'timestamptz', 'time') then 6 else 0 end as scale,
      (case when t.typname in ('varchar', 'bpchar', 'text') then 'Latin1_General_CI_AS'
        else '${JSON.stringify(Object.fromEntries(COLLATED.map(({ type, name }) => [type, name])))}'::json ->> t.typname
        end)::varchar(128) as collation_name,
      not a.attnotnull as is_nullable, false as is_computed
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    join sys.types y on y.name = coalesce(('${JSON.stringify(CALLED)}'::json ->> t.typname), t.typname)
    where a.attnum > 0 and not a.attisdropped;
  create view sys.all_columns as select *, 0 as default_object_id from sys.columns;
  create table sys.default_constraints (object_id int, name varchar(128));
  create function mssql.quoted(text) returns text language sql immutable as $f$ select replace(regexp_replace(
    replace($1, '"', '""'), '\\[((?:[^]]|\\]\\])*)\\]', '"\\1"', 'g'), ']]', ']') $f$;
  create view mssql.information_columns as
    select c.name as "COLUMN_NAME", null::varchar as "COLUMN_DEFAULT", y.name as "DATA_TYPE",
      case when c.max_length < 0 then -1 when y.name in ('nvarchar', 'nchar') then c.max_length / 2 end
        as "CHARACTER_MAXIMUM_LENGTH",
      (case when c.is_nullable then 'YES' else 'NO' end)::varchar as "IS_NULLABLE", t.relname::varchar as table_name,
      n.nspname::varchar as table_schema,
      (case current_database() when 'postgres' then 'master' else current_database() end)::varchar as table_catalog
    from sys.columns c join sys.types y on y.user_type_id = c.user_type_id join pg_class t on t.oid::int = c.object_id
      join pg_namespace n on n.oid = t.relnamespace;
  create view sys.partitions as
    select oid::int as object_id, 1 as index_id, reltuples::bigint as rows
    from pg_class where relkind = 'r' and reltuples >= 0;
  create function dbo.collationproperty(varchar, varchar) returns int language sql immutable
    as $f$ select case when $1 is not null then coalesce(
      ('${JSON.stringify(Object.fromEntries(COLLATED.map(({ name, codePage }) => [name, codePage])))}'::json ->> $1)::int, 1252) end $f$;
  create view sys.indexes as
    select i.indrelid::int as object_id,
      case when i.indisprimary then 1 else 1 + row_number() over (partition by i.indrelid order by i.indexrelid) end
        as index_id,
      case when i.indisprimary then 1 else 2 end as type, i.indisprimary::int as is_primary_key,
      i.indisunique::int as is_unique, 0 as is_disabled, (i.indpred is not null)::int as has_filter, i.indexrelid
    from pg_index i
    union all
    select c.oid::int, 0, 0, 0, 0, 0, 0, null from pg_class c
    where c.relkind = 'r' and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary);
  create view sys.index_columns as
    select x.object_id, x.index_id, k.n as key_ordinal, k.attnum::int as column_id
    from sys.indexes x join pg_index i on i.indexrelid = x.indexrelid,
      unnest(i.indkey::int2[]) with ordinality k(attnum, n);
  create function dbo.sql_variant_property(mssql.sql_variant, varchar) returns varchar language sql immutable
    as $f$ select split_part(split_part($1::text, ':', 1), '(', 1) $f$;
end
$do$`
