// The line discipline N_TTY (drivers/tty/n_tty.c): what a terminal does between the keyboard side
// and the program side. A plain object: the terminal's lock guards it.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>

#include "sentry/mm/byte_queue.h"
#include "sentry/mm/io_buffer.h"
#include "syscalls/abi/termios.h"

namespace sentry {

class LineDiscipline {
 public:
  // Output, echo included, goes to out.
  explicit LineDiscipline(ByteQueue& out);

  // What receiving input asks the terminal to do.
  struct Effects {
    uint64_t signals = 0;      // sentry::SignalBit bits for the foreground process group
    bool readable = false;     // input may be readable now
    bool flush_read = false;   // input was discarded (TIOCPKT_FLUSHREAD)
    bool flush_write = false;  // output was discarded
    bool stopped = false, started = false;
  };

  const abi::Termios2& termios() const { return t_; }
  // n_tty_set_termios().
  void SetTermios(const abi::Termios2& t, Effects* fx);

  // Input from the keyboard side; how many bytes were taken: fewer than n when the buffer is full.
  size_t Receive(const uint8_t* p, size_t n, Effects* fx);
  // Whether a read would return; poll: as poll(2) sees it (VMIN counts).
  bool InputAvailable(bool poll) const;
  // Bytes for FIONREAD.
  size_t InputBytes() const;
  // One canonical line (*eof: an end-of-file mark alone), or raw bytes. Call only if
  // InputAvailable.
  size_t Read(IoBuffer& dst, bool* fault);
  size_t RawBytes() const { return read_head_ - read_tail_; }
  void FlushInput();

  // Output from the program side through OPOST; how much of p was taken. room: bytes that out may
  // grow by.
  size_t Output(const uint8_t* p, size_t n, size_t room);

  // Flow control of output (^S, ^Q, TCXONC).
  bool stopped() const { return stopped_; }
  void Stop(Effects* fx);
  void Start(Effects* fx);

 private:
  static constexpr size_t kSize = 4096;  // N_TTY_BUF_SIZE
  struct Buffer {
    uint8_t data[kSize];
    std::bitset<kSize> line_end;
  };

  bool I(uint32_t f) const { return (t_.iflag & f) != 0; }
  bool O(uint32_t f) const { return (t_.oflag & f) != 0; }
  bool L(uint32_t f) const { return (t_.lflag & f) != 0; }
  bool IsCc(uint8_t c, int i) const { return t_.cc[i] != 0 && t_.cc[i] == c; }
  bool Continuation(uint8_t c) const { return I(abi::kIUTF8) && (c & 0xc0) == 0x80; }
  uint8_t At(size_t i) const { return buf_->data[i & (kSize - 1)]; }
  void Put(uint8_t c);
  void ReceiveChar(uint8_t c, Effects* fx);
  void ReceiveLiteral(uint8_t c, bool literal);
  bool ReceiveCanonical(uint8_t c, Effects* fx);
  void EndLine(uint8_t c, Effects* fx);
  void Signal(int sig, uint8_t c, Effects* fx);
  void Erase(uint8_t c);
  void FinishErasing();
  void EchoChar(uint8_t c);
  void EchoRaw(uint8_t c);
  void EchoEraseTab(size_t chars, bool after_tab);
  void Emit(uint8_t c);
  // do_output_char(); false: no room.
  bool OutputChar(uint8_t c, size_t* room);

  ByteQueue& out_;
  ByteQueue held_echo_;  // echo while output is stopped
  abi::Termios2 t_;
  std::unique_ptr<Buffer> buf_;
  // Positions, not indices.
  size_t read_head_ = 0, canon_head_ = 0, read_tail_ = 0;
  uint32_t column_ = 0, canon_column_ = 0;
  bool literal_next_ = false, erasing_ = false, stopped_ = false;
};

}  // namespace sentry
