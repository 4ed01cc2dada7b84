import { ConfigError, type ConfigProblem } from '../errors.ts'
import { loadPackage } from '../optional-package.ts'
import { packageVersion, versionOf } from '../version.ts'
import type { Meter, MeterProvider, Tracer, TracerProvider } from './api.ts'
import { BUCKETS, type MeasuredPool, tellPools } from './pool-metrics.ts'
import { tellSpans } from './spans.ts'

/**
 * A pool whose metrics are told: `db.pool` of an engine, `pool.poolsmith` of a `pg.Pool`, `pool.connections` of
 * `createMssqlPool`, `await dialect.pool()` of Kysely's dialects.
 */
export type ObservedPool = MeasuredPool

/** Options of {@link observe}. */
export interface TelemetryOptions {
  /**
   * Pools whose metrics `db.client.connection.*` are told. Default: none, because these names are still in development
   * in OpenTelemetry's conventions.
   */
  readonly pools?: readonly ObservedPool[]
  /** Default: the global one. */
  readonly tracerProvider?: TracerProvider
  /** Default: the global one. */
  readonly meterProvider?: MeterProvider
}

/** The result of {@link observe}. */
export interface Telemetry extends Disposable {
  /** Ends it. */
  stop(): void
}

/**
 * Tells OpenTelemetry of all pools in the process: spans of attempts to connect with their steps, of acquires that wait,
 * and of statements; the histogram `db.client.operation.duration`; and, for the pools that are named, the pool's metrics.
 * Names and attributes follow the semantic conventions. The values of parameters are never told; a statement without
 * parameters is told without the values in its text. Where an instrumentation of the driver makes spans of statements
 * (`@opentelemetry/instrumentation-pg`, `-tedious`), ours makes none of them.
 *
 * Needs the package `@opentelemetry/api`, and an SDK that has been set up before.
 *
 * @throws PoolsmithError PACKAGE_MISSING; ConfigError for anything but pools
 *
 * @example
 * await using db = await createEngine('sales')
 * using telemetry = await observe({ pools: [db.pool] })
 */
export async function observe(options: TelemetryOptions = {}): Promise<Telemetry> {
  const pools = poolsOf(options)
  const api = await loadPackage('@opentelemetry/api', () => import('@opentelemetry/api'), 'poolsmith/telemetry')
  const { tracerProvider = api.trace, meterProvider = api.metrics } = options
  const version = versionOf(packageVersion)
  const tracer = tracerProvider.getTracer('poolsmith', version) as Tracer
  const meter = meterProvider.getMeter('poolsmith', version) as Meter
  const durations = meter.createHistogram('db.client.operation.duration', {
    unit: 's',
    description: 'Duration of database client operations.',
    advice: { explicitBucketBoundaries: BUCKETS },
  })
  const stops = [tellSpans(api, tracer, durations), tellPools(meter, pools)]
  const stop = (): void => {
    for (const one of stops.splice(0)) one()
  }
  return { stop, [Symbol.dispose]: stop }
}

/** Each pool once. */
function poolsOf({ pools = [] }: TelemetryOptions): readonly ObservedPool[] {
  const problems: ConfigProblem[] = []
  if (Array.isArray(pools)) {
    for (const [at, pool] of pools.entries()) {
      if (!isPool(pool)) problems.push({ path: `pools[${at}]`, message: 'is not a pool of poolsmith' })
    }
  } else problems.push({ path: 'pools', message: 'expected an array of pools' })
  if (problems.length === 0) return [...new Set(pools)]
  throw new ConfigError(problems, {
    subject: 'The call of observe',
    hint: 'Pass db.pool of an engine, pool.poolsmith of a pg.Pool, or another one of docs/telemetry.md.',
  })
}

function isPool(given: unknown): boolean {
  const { events, stats } = (given ?? {}) as {
    readonly events?: { readonly measure?: unknown }
    readonly stats?: unknown
  }
  return typeof events?.measure === 'function' && typeof stats === 'function'
}
