/** The part of `@opentelemetry/api` that is called here, so that programs without that package can use our types. */

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

export interface Span {
  setAttributes(attributes: Attributes): unknown
  setStatus(status: { readonly code: number; readonly message?: string }): unknown
  end(): void
}

export interface SpanOptions {
  readonly kind?: number
  readonly attributes?: Attributes
}

export interface Tracer {
  startSpan(name: string, options?: SpanOptions, context?: Context): Span
}

export interface Context {
  getValue(key: symbol): unknown
  setValue(key: symbol, value: unknown): Context
  deleteValue(key: symbol): Context
}

/** Such as a `NodeTracerProvider`. */
export interface TracerProvider {
  getTracer(name: string, version?: string): unknown
}

/** Such as a `MeterProvider` of `@opentelemetry/sdk-metrics`. */
export interface MeterProvider {
  getMeter(name: string, version?: string): unknown
}

export interface MetricOptions {
  readonly description: string
  readonly unit: string
  readonly advice?: { readonly explicitBucketBoundaries: number[] }
}

export interface Histogram {
  record(value: number, attributes?: Attributes): void
}

export interface Counter {
  add(value: number, attributes?: Attributes): void
}

export interface Observable {
  addCallback(callback: ObservableCallback): void
  removeCallback(callback: ObservableCallback): void
}

export type ObservableCallback = (result: { observe(value: number, attributes?: Attributes): void }) => void

export interface Meter {
  createHistogram(name: string, options: MetricOptions): Histogram
  createCounter(name: string, options: MetricOptions): Counter
  createObservableUpDownCounter(name: string, options: MetricOptions): Observable
}

export interface OpenTelemetryApi {
  readonly trace: TracerProvider & { setSpan(context: Context, span: Span): Context }
  readonly metrics: MeterProvider
  readonly context: { active(): Context; with<T>(context: Context, work: () => T): T }
  readonly SpanKind: { readonly INTERNAL: number; readonly CLIENT: number }
  readonly SpanStatusCode: { readonly ERROR: number }
}
