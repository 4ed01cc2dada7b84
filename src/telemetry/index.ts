/** The door `poolsmith/telemetry`: spans and metrics of OpenTelemetry. */

export type { MeterProvider, TracerProvider } from './api.ts'
export { type ObservedPool, observe, type Telemetry, type TelemetryOptions } from './observe.ts'
