import { connect } from 'node:net'

/**
 * Sends bytes as they are, on a connection of their own; answers what comes back: until it has the text that is expected, or where none is,
 * until the head is whole or nothing comes any more.
 */
export const raw = (origin: string, head: string, body = '', expected?: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1')
    let answer = ''
    const end = () => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(expected === undefined ? 1_000 : 60_000, end)
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      if (expected !== undefined) {
        if (answer.includes(expected)) end()
      } else if (answer.includes('\r\n\r\n')) setTimeout(end, 30)
    })
    socket.on('close', end).on('error', end)
    socket.write(`${head.replaceAll('\n', '\r\n')}\r\n\r\n${body}`)
  })
