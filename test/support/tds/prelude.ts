/**
 * Part of the TDS server test double: what is laid into a PostgreSQL database so that it can stand behind the double.
 * Types that PostgreSQL has not (datetimeoffset keeps its offset, datetime2 its seventh digit) are stored as text
 * under a type of their own, so that a result's columns tell what they are.
 */

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

const withModifier = ['datetime2', 'datetimeoffset', 'time7']
const without = ['tinyint', 'money', 'smallmoney', 'datetime', 'sql_variant', 'mssql_xml']

export const OWN_TYPES: readonly string[] = [...withModifier, ...without]

/** Idempotent under its lock: several sessions may come first at once. */
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

  create view sys.schemas as
    select nspname::varchar(128) as name, oid::int as schema_id from pg_namespace
    where nspname not like 'pg\\_%' and nspname not in ('mssql', 'information_schema');
  create view sys.tables as
    select c.relname::varchar(128) as name, c.oid::int as object_id, c.relnamespace::int as schema_id, 'U'::char(2) as type
    from pg_class c join sys.schemas s on s.schema_id = c.relnamespace::int where c.relkind in ('r', 'p');
  create view sys.objects as
    select c.relname::varchar(128) as name, c.oid::int as object_id, c.relnamespace::int as schema_id,
      (case c.relkind when 'v' then 'V' else 'U' end)::char(2) as type
    from pg_class c join sys.schemas s on s.schema_id = c.relnamespace::int where c.relkind in ('r', 'p', 'v');
  create view sys.all_objects as
    select ('object ' || n)::varchar(128) as name, n as object_id from generate_series(1, 2000) as n;
  create view sys.databases as
    select (case datname when 'postgres' then 'master' else datname end)::varchar(128) as name, oid::int as database_id
    from pg_database where not datistemplate;
end
$do$`
