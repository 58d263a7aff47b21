import { createServer } from 'node:http'
import { countersign } from 'countersign'
import { openTelemetry } from 'countersign/opentelemetry'
import { prometheus } from 'countersign/prometheus'

/** Measured twice: for Prometheus, at a port that only it reaches, and through OpenTelemetry, whose SDK the application sets up. */
export const measuredServer = (url: string, secret: string) => {
  const metrics = prometheus()
  const auth = countersign({ url, secret, telemetry: [metrics, openTelemetry()], resources: { '/mcp': {} } })
  const scraped = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metrics.text())
  })
  return { auth, scraped }
}
