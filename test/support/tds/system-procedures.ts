/**
 * Part of the TDS server test double: the system procedures that the drivers of other languages call, as PostgreSQL's
 * SQL over the views of {@link file://./prelude.ts}.
 */

import type { Backend } from './backend.ts'
import { CALLED } from './prelude.ts'
import { type Globals, type Translated, translate } from './translate.ts'
import { quoteText } from './translate-words.ts'
import { tokenize } from './tsql.ts'

interface SystemProcedure {
  /** In their order, in lower case. */
  readonly parameters: readonly string[]
  readonly sql: (database: string) => string
}

/** The types of ODBC 3 by name: code, size, the text before and behind a literal, and what the type is created with. */
const ODBC_TYPES = [
  ['bit', -7, 1, '', ''],
  ['tinyint', -6, 3, '', ''],
  ['bigint', -5, 19, '', ''],
  ['varbinary', -3, 8000, '0x', 'max length'],
  ['binary', -2, 8000, '0x', 'length'],
  ['nvarchar', -9, 4000, "N'", 'max length'],
  ['nchar', -8, 4000, "N'", 'length'],
  ['uniqueidentifier', -11, 36, "'", ''],
  ['char', 1, 8000, "'", 'length'],
  ['numeric', 2, 38, '', 'precision,scale'],
  ['decimal', 3, 38, '', 'precision,scale'],
  ['int', 4, 10, '', ''],
  ['smallint', 5, 5, '', ''],
  ['float', 6, 53, '', ''],
  ['real', 7, 24, '', ''],
  ['varchar', 12, 8000, "'", 'max length'],
  ['date', 91, 10, "'", ''],
  ['datetime2', 93, 27, "'", 'scale'],
] as const

const dataTypes: SystemProcedure = {
  parameters: ['data_type', 'odbcver'],
  sql: () => `
    select type_name::varchar(128) as "TYPE_NAME", data_type::smallint as "DATA_TYPE", size::int as "PRECISION",
      nullif(quote, '')::varchar(32) as "LITERAL_PREFIX",
      (case when quote like '%''' then '''' end)::varchar(32) as "LITERAL_SUFFIX",
      nullif(created, '')::varchar(32) as "CREATE_PARAMS", 1::smallint as "NULLABLE", 0::smallint as "CASE_SENSITIVE",
      3::smallint as "SEARCHABLE", 0::smallint as "UNSIGNED_ATTRIBUTE", 0::smallint as "MONEY",
      0::smallint as "AUTO_INCREMENT", type_name::varchar(128) as "LOCAL_TYPE_NAME", null::smallint as "MINIMUM_SCALE",
      null::smallint as "MAXIMUM_SCALE", data_type::smallint as "SQL_DATA_TYPE", null::smallint as "SQL_DATETIME_SUB",
      10::int as "NUM_PREC_RADIX", null::smallint as "INTERVAL_PRECISION", 0::smallint as "USERTYPE"
    from (values ${ODBC_TYPES.map(
      ([name, code, size, quote, created]) =>
        `(${quoteText(name)}, ${code}, ${size}, ${quoteText(quote)}, '${created}')`,
    ).join(', ')}) as t (type_name, data_type, size, quote, created)
    where coalesce($1::int, 0) in (0, data_type) and $2::text is distinct from '' order by data_type, type_name`,
}

/** A pattern of LIKE, in which brackets quote a sign. */
const like = (parameter: string): string =>
  `regexp_replace(coalesce(nullif(${parameter}, ''), '%'), '\\[(.)\\]', '\\\\\\1', 'g')`

const tables: SystemProcedure = {
  parameters: ['table_name', 'table_owner', 'table_qualifier', 'table_type'],
  sql: (database) => `
    select * from (
      select ${quoteText(database)}::varchar(128) as "TABLE_QUALIFIER", s.name as "TABLE_OWNER", o.name as "TABLE_NAME",
        (case o.type when 'V' then 'VIEW' else 'TABLE' end)::varchar(32) as "TABLE_TYPE", null::varchar(254) as "REMARKS"
      from sys.objects o join sys.schemas s on s.schema_id = o.schema_id
    ) as found
    where "TABLE_NAME" like ${like('$1')} and "TABLE_OWNER" like ${like('$2')}
      and coalesce($3, '') in ('', '%', "TABLE_QUALIFIER")
      and strpos(coalesce(nullif($4, ''), 'TABLE,VIEW'), "TABLE_TYPE") > 0
    order by 4, 1, 2, 3`,
}

/** SqlClient asks for them before it copies rows into a table, whose name it writes as `.[t]` or `[schema].[t]`. */
const tableCollations: SystemProcedure = {
  parameters: ['object'],
  sql: () => `
    select column_id as colid, name, ''::bytea as tds_collation, collation_name as collation
    from sys.columns where object_id = to_regclass(mssql.quoted(ltrim($1, '.')))::oid::int order by column_id`,
}

export const PROCEDURES: Readonly<Record<string, SystemProcedure>> = {
  sp_tables: tables,
  sp_datatype_info: dataTypes,
  sp_datatype_info_100: dataTypes,
  sp_tablecollations_100: tableCollations,
}

const PREPARED = 'tds_undeclared'

/** sp_describe_undeclared_parameters: the types that PostgreSQL finds for the variables of a statement. */
export async function describeParameters(
  { backend, globals }: { readonly backend: Backend; readonly globals: Globals },
  text: string,
  declared: string,
): Promise<Translated> {
  const known = new Set([...declared.matchAll(/@(\w+)/g)].map(([, name]) => name))
  const tokens = tokenize(text)
  const names = [...new Set(tokens.flatMap((token) => (token.kind === 'variable' ? [token.text] : [])))]
  const variables = names.map((name) => ({ name, cast: undefined, value: null }))
  const { text: statement } = translate(tokens, variables, globals)
  await backend.execute('deallocate all')
  await backend.execute(`prepare ${PREPARED} as ${statement}`)
  const asked = names.flatMap((name, index) => (known.has(name) ? [] : [index + 1]))
  return {
    text: `
      select row_number() over (order by n)::int as parameter_ordinal,
        ('@' || (array[${names.map(quoteText).join(', ')}]::text[])[n])::varchar(128) as name,
        y.system_type_id as suggested_system_type_id, y.name as suggested_system_type_name,
        (case when y.name in ('nvarchar', 'nchar', 'varbinary') then 8000 else 8 end)::smallint as suggested_max_length,
        (case y.name when 'int' then 10 when 'bigint' then 19 when 'decimal' then 38 else 0 end)::smallint
          as suggested_precision,
        0::smallint as suggested_scale, null::int as suggested_user_type_id,
        null::varchar(128) as suggested_user_type_database, null::varchar(128) as suggested_user_type_schema,
        null::varchar(128) as suggested_user_type_name,
        null::varchar(4000) as suggested_assembly_qualified_type_name, null::int as suggested_xml_collection_id,
        null::varchar(128) as suggested_xml_collection_database, null::varchar(128) as suggested_xml_collection_schema,
        null::varchar(128) as suggested_xml_collection_name, false as suggested_is_xml_document,
        false as suggested_is_case_sensitive, false as suggested_is_fixed_length_clr_type, true as suggested_is_input,
        false as suggested_is_output, null::varchar(128) as formal_parameter_name,
        y.system_type_id as suggested_tds_type_id, 8000 as suggested_tds_length
      from pg_prepared_statements s, unnest(s.parameter_types) with ordinality as p (type, n)
      join pg_type t on t.oid = p.type
      join sys.types y on y.name = coalesce(('${JSON.stringify(CALLED)}'::json ->> t.typname), t.typname)
      where s.name = '${PREPARED}' and n = any (array[${asked.join(', ')}]::int[])
      order by n`,
    values: [],
  }
}
