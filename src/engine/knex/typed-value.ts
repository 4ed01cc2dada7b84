/** The types of SQL Server that a value can be bound with, under their names in SQL. */
const TYPES = {
  bigint: 'BigInt',
  binary: 'Binary',
  bit: 'Bit',
  char: 'Char',
  date: 'Date',
  datetime: 'DateTime',
  datetime2: 'DateTime2',
  datetimeoffset: 'DateTimeOffset',
  decimal: 'Decimal',
  float: 'Float',
  int: 'Int',
  money: 'Money',
  nchar: 'NChar',
  nvarchar: 'NVarChar',
  real: 'Real',
  smalldatetime: 'SmallDateTime',
  smallint: 'SmallInt',
  smallmoney: 'SmallMoney',
  time: 'Time',
  tinyint: 'TinyInt',
  uniqueidentifier: 'UniqueIdentifier',
  varbinary: 'VarBinary',
  varchar: 'VarChar',
} as const

/** The name of a type of SQL Server. */
export type SqlServerType = keyof typeof TYPES

/** The size of a type: `length` of texts and bytes, `precision` and `scale` of decimals, `scale` of times. */
export interface TypeSize {
  readonly length?: number
  readonly precision?: number
  readonly scale?: number
}

/** A value with the type that it is bound with on SQL Server; made by {@link typed}. PostgreSQL gets the value alone. */
export class TypedValue {
  readonly type: SqlServerType
  readonly value: unknown
  readonly size: TypeSize

  constructor(type: SqlServerType, value: unknown, size: TypeSize) {
    if (!Object.hasOwn(TYPES, type)) {
      throw new TypeError(`typed: ${String(type)} is no type; use one of ${Object.keys(TYPES).join(', ')}`)
    }
    this.type = type
    this.value = value
    this.size = size
  }

  /** The name of the type in tedious. */
  get tediousType(): (typeof TYPES)[SqlServerType] {
    return TYPES[this.type]
  }

  /** For pg. */
  toPostgres(): unknown {
    return this.value
  }

  /** For logs and for knex's messages. */
  toJSON(): unknown {
    return this.value
  }
}

/**
 * A value for a statement of knex that is bound with this type on SQL Server. Text is bound as `nvarchar` otherwise, and
 * an index of a `varchar` column cannot be searched for that.
 *
 * @param size default: as large as the value needs
 * @throws TypeError for an unknown type
 *
 * @example
 * await db('parts').where({ code: typed('varchar', 'A-17') })
 * await db('prices').insert({ price: typed('decimal', '0.1', { precision: 38, scale: 10 }) })
 */
export function typed(type: SqlServerType, value: unknown, size: TypeSize = {}): TypedValue & Record<string, unknown> {
  // knex's types take objects of this kind only.
  return new TypedValue(type, value, size) as TypedValue & Record<string, unknown>
}
