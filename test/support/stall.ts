/** Holds the event loop of this process for so many milliseconds. */
export function stall(millis: number): void {
  const end = performance.now() + millis
  while (performance.now() < end);
}
