/** The door `poolsmith/telemetry`: spans and metrics of OpenTelemetry. */

import '../supported-node.ts'

export type { MeterProvider, TracerProvider } from './api.ts'
export { type ObservedPool, observe, type Telemetry, type TelemetryOptions } from './observe.ts'
