// An optional package, of which api.ts has the part that is used.
declare module '@opentelemetry/api' {
  type Api = import('./api.ts').OpenTelemetryApi
  export const trace: Api['trace']
  export const metrics: Api['metrics']
  export const context: Api['context']
  export const SpanKind: Api['SpanKind']
  export const SpanStatusCode: Api['SpanStatusCode']
}
