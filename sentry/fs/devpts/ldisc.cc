#include "sentry/fs/devpts/ldisc.h"

#include <algorithm>

#include "sentry/kernel/signal.h"
#include "syscalls/abi/signal.h"

namespace sentry {

namespace {

constexpr uint8_t kDisabled = 0;  // __DISABLED_CHAR, an end-of-file mark in the buffer

bool IsControl(uint8_t c) { return c < 0x20 || c == 0x7f; }
bool IsAlnum(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0xc0;
}
uint8_t Lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
uint8_t Upper(uint8_t c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }

// tty_std_termios with INIT_C_CC.
abi::Termios2 StandardTermios() {
  abi::Termios2 t{};
  t.iflag = abi::kICRNL | abi::kIXON;
  t.oflag = abi::kOPOST | abi::kONLCR;
  t.cflag = abi::kB38400 | abi::kCS8 | abi::kCREAD;
  t.lflag = abi::kISIG | abi::kICANON | abi::kECHO | abi::kECHOE | abi::kECHOK | abi::kECHOCTL |
            abi::kECHOKE | abi::kIEXTEN;
  t.cc[abi::kVINTR] = 3;
  t.cc[abi::kVQUIT] = 034;
  t.cc[abi::kVERASE] = 0177;
  t.cc[abi::kVKILL] = 025;
  t.cc[abi::kVEOF] = 4;
  t.cc[abi::kVMIN] = 1;
  t.cc[abi::kVSTART] = 021;
  t.cc[abi::kVSTOP] = 023;
  t.cc[abi::kVSUSP] = 032;
  t.cc[abi::kVREPRINT] = 022;
  t.cc[abi::kVDISCARD] = 017;
  t.cc[abi::kVWERASE] = 027;
  t.cc[abi::kVLNEXT] = 026;
  t.ispeed = t.ospeed = 38400;
  return t;
}

}  // namespace

LineDiscipline::LineDiscipline(ByteQueue& out) : out_(out), t_(StandardTermios()) {}

void LineDiscipline::SetTermios(const abi::Termios2& t, Effects* fx) {
  abi::Termios2 old = t_;
  t_ = t;
  if ((old.lflag ^ t.lflag) & (abi::kICANON | abi::kEXTPROC)) {
    if (buf_) buf_->line_end.reset();
    if (!L(abi::kICANON) || read_head_ == read_tail_) {
      canon_head_ = read_tail_;
    } else {
      buf_->line_end.set((read_head_ - 1) & (kSize - 1));
      canon_head_ = read_head_;
    }
    erasing_ = literal_next_ = false;
  }
  if (!I(abi::kIXON) && (old.iflag & abi::kIXON) && stopped_) Start(fx);
  fx->readable = true;
}

void LineDiscipline::Stop(Effects* fx) {
  if (stopped_) return;
  stopped_ = true;
  fx->stopped = true;
}

void LineDiscipline::Start(Effects* fx) {
  if (!stopped_) return;
  stopped_ = false;
  fx->started = true;
  while (!held_echo_.empty()) {
    size_t n = held_echo_.front_size();
    out_.push(held_echo_.front(), n);
    held_echo_.pop(n);
  }
}

void LineDiscipline::Put(uint8_t c) {
  buf_->data[read_head_ & (kSize - 1)] = c;
  read_head_++;
}

size_t LineDiscipline::Receive(const uint8_t* p, size_t n, Effects* fx) {
  if (!buf_) buf_ = std::make_unique<Buffer>();
  for (size_t i = 0; i < n; i++) {
    // n_tty_receive_buf_common(): one byte stays free, PARMRK may need three for one. A canonical
    // line that fills the buffer is cut, so that its end can still come.
    size_t room = kSize - RawBytes();
    if (I(abi::kPARMRK)) room = (room + 2) / 3;
    if (room <= 1) {
      bool overflow = L(abi::kICANON) && canon_head_ == read_tail_;
      if (!overflow) return i;
      if (room == 0) read_head_--;
    }
    ReceiveChar(p[i], fx);
  }
  return n;
}

void LineDiscipline::ReceiveChar(uint8_t c, Effects* fx) {
  if (literal_next_) {
    literal_next_ = false;
    if (I(abi::kISTRIP)) c &= 0x7f;
    if (I(abi::kIUCLC) && L(abi::kIEXTEN)) c = Lower(c);
    ReceiveLiteral(c, true);
    fx->readable |= !L(abi::kICANON);
    return;
  }
  if (I(abi::kISTRIP)) c &= 0x7f;
  if (I(abi::kIUCLC) && L(abi::kIEXTEN)) c = Lower(c);
  if (L(abi::kEXTPROC)) {
    Put(c);
    fx->readable = true;
    return;
  }
  if (I(abi::kIXON)) {
    if (IsCc(c, abi::kVSTART)) return Start(fx);
    if (IsCc(c, abi::kVSTOP)) return Stop(fx);
  }
  if (L(abi::kISIG)) {
    if (IsCc(c, abi::kVINTR)) return Signal(abi::kSIGINT, c, fx);
    if (IsCc(c, abi::kVQUIT)) return Signal(abi::kSIGQUIT, c, fx);
    if (IsCc(c, abi::kVSUSP)) return Signal(abi::kSIGTSTP, c, fx);
  }
  if (stopped_ && I(abi::kIXON) && I(abi::kIXANY)) Start(fx);
  if (c == '\r') {
    if (I(abi::kIGNCR)) return;
    if (I(abi::kICRNL)) c = '\n';
  } else if (c == '\n' && I(abi::kINLCR)) {
    c = '\r';
  }
  if (L(abi::kICANON) && ReceiveCanonical(c, fx)) return;
  ReceiveLiteral(c, false);
  fx->readable |= !L(abi::kICANON);
}

void LineDiscipline::ReceiveLiteral(uint8_t c, bool literal) {
  if (L(abi::kECHO)) {
    FinishErasing();
    if (c == '\n' && !literal) {
      EchoRaw('\n');
    } else {
      if (canon_head_ == read_head_) canon_column_ = column_;
      EchoChar(c);
    }
  }
  if (c == 0xff && I(abi::kPARMRK)) Put(c);
  Put(c);
}

void LineDiscipline::EndLine(uint8_t c, Effects* fx) {
  buf_->line_end.set(read_head_ & (kSize - 1));
  Put(c);
  canon_head_ = read_head_;
  fx->readable = true;
}

// n_tty_receive_char_canon().
bool LineDiscipline::ReceiveCanonical(uint8_t c, Effects* fx) {
  const bool ext = L(abi::kIEXTEN);
  if (IsCc(c, abi::kVERASE) || IsCc(c, abi::kVKILL) || (ext && IsCc(c, abi::kVWERASE))) {
    Erase(c);
    return true;
  }
  if (ext && IsCc(c, abi::kVLNEXT)) {
    literal_next_ = true;
    if (L(abi::kECHO)) {
      FinishErasing();
      if (L(abi::kECHOCTL)) {
        EchoRaw('^');
        EchoRaw('\b');
      }
    }
    return true;
  }
  if (ext && L(abi::kECHO) && IsCc(c, abi::kVREPRINT)) {
    FinishErasing();
    EchoChar(c);
    EchoRaw('\n');
    for (size_t i = canon_head_; i != read_head_; i++) EchoChar(At(i));
    return true;
  }
  if (c == '\n') {
    if (L(abi::kECHO) || L(abi::kECHONL)) EchoRaw('\n');
    EndLine(c, fx);
    return true;
  }
  if (IsCc(c, abi::kVEOF)) {
    EndLine(kDisabled, fx);
    return true;
  }
  if (IsCc(c, abi::kVEOL) || (ext && IsCc(c, abi::kVEOL2))) {
    if (L(abi::kECHO)) {
      if (canon_head_ == read_head_) canon_column_ = column_;
      EchoChar(c);
    }
    if (c == 0xff && I(abi::kPARMRK)) Put(c);
    EndLine(c, fx);
    return true;
  }
  return false;
}

// n_tty_receive_signal_char() and isig().
void LineDiscipline::Signal(int sig, uint8_t c, Effects* fx) {
  fx->signals |= SignalBit(sig);
  if (!L(abi::kNOFLSH)) {
    held_echo_.clear();
    out_.clear();
    FlushInput();
    fx->flush_read = fx->flush_write = true;
  }
  if (I(abi::kIXON)) Start(fx);
  if (L(abi::kECHO)) EchoChar(c);
}

void LineDiscipline::FinishErasing() {
  if (!erasing_) return;
  EchoRaw('/');
  erasing_ = false;
}

// eraser().
void LineDiscipline::Erase(uint8_t c) {
  if (read_head_ == canon_head_) return;
  enum { kErase, kWord, kKill } kind = kKill;
  if (IsCc(c, abi::kVERASE)) {
    kind = kErase;
  } else if (IsCc(c, abi::kVWERASE)) {
    kind = kWord;
  } else {
    if (!L(abi::kECHO)) {
      read_head_ = canon_head_;
      return;
    }
    if (!L(abi::kECHOK) || !L(abi::kECHOKE) || !L(abi::kECHOE)) {
      read_head_ = canon_head_;
      FinishErasing();
      EchoChar(t_.cc[abi::kVKILL]);
      if (L(abi::kECHOK)) EchoRaw('\n');
      return;
    }
  }
  bool seen_alnum = false;
  while (read_head_ != canon_head_) {
    size_t head = read_head_;
    do {
      head--;
      c = At(head);
    } while (Continuation(c) && head != canon_head_);
    if (Continuation(c)) break;
    if (kind == kWord) {
      if (IsAlnum(c) || c == '_') {
        seen_alnum = true;
      } else if (seen_alnum) {
        break;
      }
    }
    size_t count = read_head_ - head;
    read_head_ = head;
    if (L(abi::kECHO)) {
      if (L(abi::kECHOPRT)) {
        if (!erasing_) {
          EchoRaw('\\');
          erasing_ = true;
        }
        EchoChar(c);
        for (size_t i = 1; i < count; i++) {
          EchoRaw(At(head + i));
          if (column_ > 0) column_--;
        }
      } else if (kind == kErase && !L(abi::kECHOE)) {
        EchoChar(t_.cc[abi::kVERASE]);
      } else if (c == '\t') {
        size_t chars = 0;
        bool after_tab = false;
        for (size_t tail = read_head_; tail != canon_head_;) {
          uint8_t b = At(--tail);
          if (b == '\t') {
            after_tab = true;
            break;
          }
          if (IsControl(b)) {
            if (L(abi::kECHOCTL)) chars += 2;
          } else if (!Continuation(b)) {
            chars++;
          }
        }
        EchoEraseTab(chars, after_tab);
      } else {
        int cells = IsControl(c) ? (L(abi::kECHOCTL) ? 2 : 0) : 1;
        for (; cells > 0; cells--) {
          EchoRaw('\b');
          EchoRaw(' ');
          EchoRaw('\b');
        }
      }
    }
    if (kind == kErase) break;
  }
  if (read_head_ == canon_head_ && L(abi::kECHO)) FinishErasing();
}

void LineDiscipline::Emit(uint8_t c) {
  constexpr size_t kMaxHeld = 4096;
  if (!stopped_) {
    out_.push(c);
  } else if (held_echo_.size() < kMaxHeld) {
    held_echo_.push(c);
  }
}

void LineDiscipline::EchoChar(uint8_t c) {
  if (L(abi::kECHOCTL) && IsControl(c) && c != '\t') {
    Emit('^');
    Emit(c ^ 0100);
    column_ += 2;
  } else {
    EchoRaw(c);
  }
}

void LineDiscipline::EchoRaw(uint8_t c) {
  if (!O(abi::kOPOST)) return Emit(c);
  size_t room = SIZE_MAX;
  OutputChar(c, &room);
}

void LineDiscipline::EchoEraseTab(size_t chars, bool after_tab) {
  if (!after_tab) chars += canon_column_;
  for (size_t n = 8 - (chars & 7); n > 0; n--) {
    Emit('\b');
    if (column_ > 0) column_--;
  }
}

bool LineDiscipline::OutputChar(uint8_t c, size_t* room) {
  if (*room == 0) return false;
  size_t used = 1;
  switch (c) {
    case '\n':
      if (O(abi::kONLRET)) column_ = 0;
      if (O(abi::kONLCR)) {
        if (*room < 2) return false;
        canon_column_ = column_ = 0;
        Emit('\r');
        used = 2;
      } else {
        canon_column_ = column_;
      }
      break;
    case '\r':
      if (O(abi::kONOCR) && column_ == 0) return true;
      if (O(abi::kOCRNL)) {
        c = '\n';
        if (O(abi::kONLRET)) canon_column_ = column_ = 0;
      } else {
        canon_column_ = column_ = 0;
      }
      break;
    case '\t': {
      size_t spaces = 8 - (column_ & 7);
      if ((t_.oflag & abi::kTABDLY) == abi::kXTABS) {
        if (*room < spaces) return false;
        column_ += spaces;
        for (size_t i = 0; i < spaces; i++) Emit(' ');
        *room -= spaces;
        return true;
      }
      column_ += spaces;
      break;
    }
    case '\b':
      if (column_ > 0) column_--;
      break;
    default:
      if (!IsControl(c)) {
        if (O(abi::kOLCUC)) c = Upper(c);
        if (!Continuation(c)) column_++;
      }
  }
  Emit(c);
  *room -= used;
  return true;
}

size_t LineDiscipline::Output(const uint8_t* p, size_t n, size_t room) {
  if (!O(abi::kOPOST)) {
    n = std::min(n, room);
    out_.push(p, n);
    return n;
  }
  for (size_t i = 0; i < n; i++) {
    if (!OutputChar(p[i], &room)) return i;
  }
  return n;
}

bool LineDiscipline::InputAvailable(bool poll) const {
  if (L(abi::kICANON) && !L(abi::kEXTPROC)) return canon_head_ != read_tail_;
  size_t amount = poll && t_.cc[abi::kVTIME] == 0 && t_.cc[abi::kVMIN] != 0 ? t_.cc[abi::kVMIN] : 1;
  return RawBytes() >= amount;
}

// inq_canon().
size_t LineDiscipline::InputBytes() const {
  if (!L(abi::kICANON) || L(abi::kEXTPROC)) return RawBytes();
  size_t n = canon_head_ - read_tail_;
  for (size_t i = read_tail_; i != canon_head_; i++) {
    if (buf_->line_end.test(i & (kSize - 1)) && At(i) == kDisabled) n--;
  }
  return n;
}

size_t LineDiscipline::Read(IoBuffer& dst, bool* fault) {
  *fault = false;
  const bool canonical = L(abi::kICANON) && !L(abi::kEXTPROC);
  size_t want = dst.remaining();
  size_t end = read_tail_;
  bool mark = false;  // the line ends with an end-of-file mark, which is not data
  if (canonical) {
    while (end != canon_head_ && end - read_tail_ < want) {
      size_t i = end & (kSize - 1);
      if (buf_->line_end.test(i)) {
        mark = At(end) == kDisabled;
        end += mark ? 0 : 1;
        break;
      }
      end++;
    }
    // canon_copy_from_read_buf(): a mark right behind a full buffer goes with it.
    if (!mark && end != canon_head_ && end - read_tail_ == want &&
        !(end != read_tail_ && buf_->line_end.test((end - 1) & (kSize - 1)))) {
      mark = buf_->line_end.test(end & (kSize - 1)) && At(end) == kDisabled;
    }
  } else {
    end = read_tail_ + std::min(want, RawBytes());
  }
  size_t done = 0;
  while (read_tail_ + done < end) {
    size_t at = (read_tail_ + done) & (kSize - 1);
    size_t k = std::min(end - read_tail_ - done, kSize - at);
    size_t put = dst.CopyTo(&buf_->data[at], k);
    done += put;
    if (put < k) {
      *fault = true;
      mark = false;
      break;
    }
  }
  size_t consumed = done + (mark ? 1 : 0);
  for (size_t i = 0; i < consumed; i++) buf_->line_end.reset((read_tail_ + i) & (kSize - 1));
  read_tail_ += consumed;
  if (!canonical) canon_head_ = read_tail_;
  return done;
}

void LineDiscipline::FlushInput() {
  if (buf_) buf_->line_end.reset();
  read_head_ = canon_head_ = read_tail_ = 0;
  erasing_ = literal_next_ = false;
}

}  // namespace sentry
