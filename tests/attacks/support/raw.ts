import { connect } from 'node:net'

/** Sends bytes as they are, on a connection of their own; answers what comes back until it is whole or nothing comes any more. */
export const raw = (origin: string, head: string, body = ''): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1')
    let answer = ''
    const end = () => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, end)
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      if (answer.includes('\r\n\r\n')) setTimeout(end, 30)
    })
    socket.on('close', end).on('error', end)
    socket.write(`${head.replaceAll('\n', '\r\n')}\r\n\r\n${body}`)
  })
